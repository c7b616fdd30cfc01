using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.CompilerServices;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Recipes;

/// <summary>
/// Which method a delegate calls, told so that the same program finds it again in another process: its place in its module, which must be
/// the very same one. Only delegates without captured state have an identity.
/// </summary>
internal sealed record DelegateIdentity(string DelegateType, string DeclaringType, Guid Module, int MethodToken, IReadOnlyList<string> MethodArguments, bool HasTarget)
{
    private const string ClosureThis = "<>4__this";

    /// <summary>Why a delegate cannot travel; null when it can.</summary>
    /// <param name="code">The delegate.</param>
    /// <param name="otherWay">How it can be given what it must not capture.</param>
    public static string? FindProblem(Delegate code, string otherWay = "as the options of a runnable")
    {
        MethodInfo method = code.Method;
        if (code.GetInvocationList().Length > 1)
            return "its delegate calls several methods. Give it a single one.";
        if (method.DeclaringType is not { AssemblyQualifiedName: not null } declaring || method.Module.Assembly.IsDynamic)
            return "its delegate was made at run time, so another process cannot find it. Use a static method or a lambda in the program's source.";
        if (System.Runtime.Loader.AssemblyLoadContext.GetLoadContext(declaring.Assembly) is { } context && context != System.Runtime.Loader.AssemblyLoadContext.Default)
            return $"its delegate comes from an assembly that was loaded apart ({declaring.Assembly.GetName().Name}), so another process cannot find it. Put it into an assembly of the program itself.";
        if (code.Target is not { } target)
            return null;
        if (method.IsStatic)
            return $"its delegate is bound to a value of type {target.GetType().Name} (an extension method called on it). Use a lambda, and give the value {otherWay}.";
        FieldInfo[] state = target.GetType().GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic);
        bool isClosure = target.GetType().IsDefined(typeof(CompilerGeneratedAttribute), inherit: false);
        if (isClosure && state.Length == 0)
            return null;
        string[] captured = [.. Captured(state)];
        return isClosure
            ? $"its delegate{(captured.Length > 1 ? ", or another lambda of its scope," : "")} captures {string.Join(", ", captured)}, which another process cannot see. Make the lambda static, and give what it needs {otherWay}."
            : $"its delegate is the method {method.Name} of an object ({target.GetType().Name}), which another process cannot see. Use a static method, and give what it needs {otherWay}.";
    }

    public static DelegateIdentity Of(Delegate code)
    {
        MethodInfo method = code.Method;
        return new DelegateIdentity(
            code.GetType().AssemblyQualifiedName!,
            method.DeclaringType!.AssemblyQualifiedName!,
            method.Module.ModuleVersionId,
            (method.IsGenericMethod ? method.GetGenericMethodDefinition() : method).MetadataToken,
            method.IsGenericMethod ? [.. method.GetGenericArguments().Select(static a => a.AssemblyQualifiedName!)] : [],
            code.Target is not null);
    }

    /// <summary>Finds the method in this process.</summary>
    /// <exception cref="InvalidOperationException">The program on disk is not the one that the other process runs.</exception>
    [UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "A trimmed program keeps what its own delegates call; it starts children by the explicit hook.")]
    [UnconditionalSuppressMessage("Trimming", "IL2055", Justification = "As above.")]
    [UnconditionalSuppressMessage("Trimming", "IL2060", Justification = "As above.")]
    [UnconditionalSuppressMessage("Trimming", "IL2072", Justification = "As above.")]
    [UnconditionalSuppressMessage("Trimming", "IL2075", Justification = "As above.")]
    [UnconditionalSuppressMessage("AOT", "IL3050", Justification = "The instantiations exist in the program, because the parent has them.")]
    public Delegate Resolve()
    {
        Type declaring = FindType(DeclaringType);
        if (declaring.Module.ModuleVersionId != Module)
            throw new InvalidOperationException($"{declaring.Assembly.GetName().Name} is another build than the one that the parent process runs. Was the program replaced while it ran? Restart it.");
        MethodBase found = declaring.Module.ResolveMethod(MethodToken) ?? throw new InvalidOperationException($"Method {MethodToken:x8} of {declaring} does not exist.");
        if (declaring.IsGenericType)
            found = MethodBase.GetMethodFromHandle(found.MethodHandle, declaring.TypeHandle)!;
        var method = (MethodInfo)found;
        if (MethodArguments.Count > 0)
            method = method.MakeGenericMethod([.. MethodArguments.Select(FindType)]);
        object? target = HasTarget ? RuntimeHelpers.GetUninitializedObject(declaring) : null;
        return Delegate.CreateDelegate(FindType(DelegateType), target, method);
    }

    public void WriteTo(FieldWriter writer)
    {
        writer.Text(DelegateType);
        writer.Text(DeclaringType);
        writer.Bytes(Module.ToByteArray());
        writer.Int(MethodToken);
        writer.Int(MethodArguments.Count);
        foreach (string argument in MethodArguments)
            writer.Text(argument);
        writer.Bool(HasTarget);
    }

    /// <exception cref="ProtocolViolationException">The bytes are no identity.</exception>
    public static DelegateIdentity ReadFrom(ref FieldReader reader)
    {
        string delegateType = reader.RequiredText(), declaringType = reader.RequiredText();
        System.Buffers.ReadOnlySequence<byte> module = reader.Bytes();
        if (module.Length != 16)
            throw new ProtocolViolationException("A module id does not have 16 bytes.");
        Span<byte> id = stackalloc byte[16];
        System.Buffers.BuffersExtensions.CopyTo(module, id);
        int token = reader.Int();
        var arguments = new string[reader.Count()];
        for (int i = 0; i < arguments.Length; i++)
            arguments[i] = reader.RequiredText();
        return new DelegateIdentity(delegateType, declaringType, new Guid(id), token, arguments, reader.Bool());
    }

    /// <summary>Finds a type that the parent named.</summary>
    [UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "A trimmed program keeps what its own delegates call; it starts children by the explicit hook.")]
    [UnconditionalSuppressMessage("Trimming", "IL2057", Justification = "As above.")]
    public static Type FindType(string assemblyQualifiedName) =>
        Type.GetType(assemblyQualifiedName, throwOnError: true)!;

    /// <summary>Finds a type that a child named; null when this program has none of that name.</summary>
    [UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "A type that the trimmed program does not use is not found.")]
    [UnconditionalSuppressMessage("Trimming", "IL2057", Justification = "As above.")]
    public static Type? TryFindType(string assemblyQualifiedName)
    {
        try
        {
            return Type.GetType(assemblyQualifiedName, throwOnError: false);
        }
        catch (Exception)
        {
            // What looks for an assembly throws when its name or its file is none.
            return null;
        }
    }

    /// <summary>The captured variables by their names. Other names with angle brackets are the compiler's own, for example of lambdas that it keeps.</summary>
    private static IEnumerable<string> Captured(FieldInfo[] state) =>
        state.Select(static f => f.Name == ClosureThis ? "this" : f.Name.StartsWith("CS$<>", StringComparison.Ordinal) ? "variables of an outer block" : f.Name.StartsWith('<') ? null : $"'{f.Name}'")
            .OfType<string>()
            .Distinct()
            .DefaultIfEmpty("variables");
}
