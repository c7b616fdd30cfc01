using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using PolyType;
using PolyType.Abstractions;
using PolyType.ReflectionProvider;
using Puma.Dataflow.Jobs;

namespace Puma.Dataflow.Isolation.Codec;

/// <summary>Finds out before a run whether a type can be carried, and which member is to blame when it cannot.</summary>
[UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "Shapes by reflection are the default; a trimmed program plugs in a codec of its own.")]
[UnconditionalSuppressMessage("Trimming", "IL2070", Justification = "As above.")]
[UnconditionalSuppressMessage("Trimming", "IL2075", Justification = "As above.")]
[UnconditionalSuppressMessage("AOT", "IL3050", Justification = "As above.")]
internal sealed class TypeExamination(IItemCodec? custom, IReadOnlyList<Type> derivedTypes)
{
    // Carries whole items; members of other types are the serializer's.
    private readonly IItemCodec? _custom = custom;

    /// <summary>Where the types are declared that values may have besides their own. What is examined does not know whether it is for workers.</summary>
    public const string DerivedTypes = $"{nameof(PipelineOptions.DerivedTypes)} of {nameof(PipelineOptions)}, or of {nameof(WorkersOptions)} for jobs";

    private const BindingFlags Fields = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    private static readonly Type[] Carried = [typeof(string), typeof(Memory<byte>), typeof(ReadOnlyMemory<byte>), typeof(SharedBuffer)];

    // Have codecs of their own, which carry what is in them by its own type.
    private static readonly Type[] Jobs = [typeof(JobCall), typeof(JobReply)];

    private readonly ConcurrentDictionary<Type, string?> _problems = [];

    /// <summary>Why a type cannot be carried, naming the member if it is one of its members; null when it can.</summary>
    public string? FindProblem(Type type) => _problems.GetOrAdd(type, static (t, self) => Jobs.Contains(t) || self._custom?.CanCarry(t) == true ? null : self.Examine(t, t.Name, []), this);

    /// <summary>Whether values of a type hold no references, directly or in their fields.</summary>
    public static bool IsUnmanaged(Type type)
    {
        if (type.IsPrimitive || type.IsEnum)
            return true;
        return type.IsValueType && !type.IsGenericTypeDefinition && Array.TrueForAll(type.GetFields(Fields), static f => IsUnmanaged(f.FieldType));
    }

    /// <summary>The types of the program that a type derives from and may be declared as.</summary>
    public static IEnumerable<Type> BasesOf(Type type)
    {
        for (Type? t = type.BaseType; t is not null && t != typeof(object) && t != typeof(ValueType); t = t.BaseType)
            yield return t;
        foreach (Type contract in type.GetInterfaces().Where(static i => i.Assembly != typeof(object).Assembly && !i.Namespace!.StartsWith("System", StringComparison.Ordinal)))
            yield return contract;
    }

    private string? Examine(Type type, string path, HashSet<Type> seen)
    {
        if (!seen.Add(type) || Carried.Contains(type))
            return null;
        if (RefuseAlways(type) is { } reason)
            return Say(path, type, reason);
        if (IsUnmanaged(type))
            return null;
        if (type == typeof(object))
            return Say(path, type, $"what it holds cannot be told. Use a base type of your own and list what it may hold in {DerivedTypes}");
        if (type.IsSZArray)
            return Examine(type.GetElementType()!, path + "[]", seen);
        ITypeShape? shape;
        try
        {
            shape = ReflectionTypeShapeProvider.Default.GetTypeShape(type);
        }
        catch (Exception error) when (error is NotSupportedException or ArgumentException or InvalidOperationException)
        {
            return Say(path, type, error.Message);
        }

        switch (shape)
        {
            case null:
                return Say(path, type, "its form cannot be told");
            case IEnumerableTypeShape list:
                return Examine(list.ElementType.Type, path + "[]", seen);
            case IDictionaryTypeShape map:
                return Examine(map.KeyType.Type, path + ".Key", seen) ?? Examine(map.ValueType.Type, path + ".Value", seen);
            case IOptionalTypeShape optional:
                return Examine(optional.ElementType.Type, path, seen);
            case IUnionTypeShape union:
                return union.UnionCases.Select(c => Examine(c.UnionCaseType.Type, $"{path}({c.UnionCaseType.Type.Name})", seen)).FirstOrDefault(static p => p is not null);
            case IObjectTypeShape plain:
                return ExamineMembers(type, plain, path, seen);
            default:
                return null;
        }
    }

    private string? ExamineMembers(Type type, IObjectTypeShape shape, string path, HashSet<Type> seen)
    {
        Type[] declared = [.. derivedTypes.Where(d => d != type && type.IsAssignableFrom(d))];
        foreach (Type derived in declared)
        {
            if (Examine(derived, $"{path}({derived.Name})", seen) is { } problem)
                return problem;
        }

        if (IsKnownLeaf(type))
            return null;
        if (type.IsInterface || type.IsAbstract)
            return declared.Length > 0 ? null : Say(path, type, $"which types it may hold is not declared. List them in {DerivedTypes}, or use a concrete type");
        if (shape.Constructor is null && !type.IsValueType)
            return Say(path, type, "it has no public constructor by which it could be made again. Give it one whose parameters are named as its properties, or plug in a codec");
        bool hasState = false;
        for (Type? t = type; t is not null && t != typeof(object) && t != typeof(ValueType); t = t.BaseType)
            hasState |= t.GetFields(Fields).Length > 0;
        if (shape.Properties.Count == 0 && (shape.Constructor?.Parameters.Count ?? 0) == 0 && hasState)
            return Say(path, type, "it keeps its state in members that are not public, so nothing of it would arrive. Make them public properties, or plug in a codec");
        if (FindUnsent(shape) is { } parameter)
            return Say(path, type, $"it cannot be made again, because no public property gives the value of its constructor's parameter '{parameter.ParameterInfo?.Name ?? parameter.Name}'. Name a property as the parameter, or plug in a codec");
        foreach (IPropertyShape property in shape.Properties)
        {
            if (Examine(property.PropertyType.Type, $"{path}.{property.Name}", seen) is { } problem)
                return problem;
        }

        return null;
    }

    /// <summary>A parameter of the constructor for which nothing travels. The serializer wants a property for each, and its value for those that must be given.</summary>
    private static IParameterShape? FindUnsent(IObjectTypeShape shape) => shape.IsTupleType
        ? null
        : shape.Constructor?.Parameters.FirstOrDefault(parameter => !shape.Properties.Any(p => (p.HasGetter || !parameter.IsRequired) && p.Name.Equals(parameter.Name, StringComparison.OrdinalIgnoreCase)));

    /// <summary>Types of the framework that the serializer knows although they look like objects.</summary>
    public static bool IsKnownLeaf(Type type) =>
        type == typeof(Uri) || type == typeof(Version) || type == typeof(System.Numerics.BigInteger) || type == typeof(System.Globalization.CultureInfo) || type == typeof(System.Text.Encoding);

    private static string? RefuseAlways(Type type)
    {
        if (type.IsPointer || type.IsByRefLike || type == typeof(nint) || type == typeof(nuint))
            return "an address means nothing in another process";
        if (typeof(Delegate).IsAssignableFrom(type))
            return "a delegate cannot travel as data";
        if (typeof(Stream).IsAssignableFrom(type) || typeof(TextReader).IsAssignableFrom(type) || typeof(TextWriter).IsAssignableFrom(type))
            return "an open stream belongs to this process. Send its path or its bytes";
        if (typeof(Task).IsAssignableFrom(type) || type == typeof(ValueTask) || (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(ValueTask<>)))
            return "a task belongs to this process. Await it first";
        if (type == typeof(CancellationToken) || typeof(CancellationTokenSource).IsAssignableFrom(type))
            return "a cancellation token belongs to this process. Use the one that the handler is given";
        if (typeof(Type).IsAssignableFrom(type) || typeof(MemberInfo).IsAssignableFrom(type) || typeof(Assembly).IsAssignableFrom(type))
            return "types and members are never named by data";
        if (typeof(Exception).IsAssignableFrom(type))
            return "exceptions travel as errors, not as data";
        if (typeof(System.Runtime.InteropServices.SafeHandle).IsAssignableFrom(type) || typeof(WaitHandle).IsAssignableFrom(type) || typeof(Thread).IsAssignableFrom(type))
            return "a handle belongs to this process";
        if (IsUnmanagedAddress(type))
            return "it holds an address, which means nothing in another process";
        return null;
    }

    private static bool IsUnmanagedAddress(Type type) =>
        type.IsValueType && !type.IsPrimitive && !type.IsEnum && IsUnmanaged(type) && type.GetFields(Fields).Any(static f => f.FieldType == typeof(nint) || f.FieldType == typeof(nuint) || f.FieldType.IsPointer || IsUnmanagedAddress(f.FieldType));

    /// <summary>A path begins with the name of the type that is examined.</summary>
    private static string Say(string path, Type type, string reason) => path == type.Name ? $"{reason}." : $"{path} is of type {type.Name}: {reason}.";
}
