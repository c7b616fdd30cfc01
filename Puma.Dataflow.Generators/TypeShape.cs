using Microsoft.CodeAnalysis;

namespace Puma.Dataflow.Generators;

/// <summary>What a type is, and what is visible inside of it.</summary>
internal static class TypeShape
{
    /// <summary>As it is written in generated code, with what is said about null.</summary>
    private static readonly SymbolDisplayFormat Qualified =
        SymbolDisplayFormat.FullyQualifiedFormat.AddMiscellaneousOptions(SymbolDisplayMiscellaneousOptions.IncludeNullableReferenceTypeModifier);

    private static readonly SymbolDisplayFormat Short =
        SymbolDisplayFormat.MinimallyQualifiedFormat.RemoveMiscellaneousOptions(SymbolDisplayMiscellaneousOptions.EscapeKeywordIdentifiers);

    public static string Write(this ITypeSymbol type) => type.ToDisplayString(Qualified);

    public static string WriteNotNull(this ITypeSymbol type) => type.WithNullableAnnotation(NullableAnnotation.NotAnnotated).Write();

    /// <summary>The mere name, as calls of its members are told of.</summary>
    public static string Name(this INamedTypeSymbol type) => type.ToDisplayString(Short);

    /// <summary>As people read it in a message of the compiler.</summary>
    public static string Show(this ISymbol symbol) => symbol.ToDisplayString(SymbolDisplayFormat.CSharpShortErrorMessageFormat);

    /// <summary>The type itself, then its element types, type arguments and the type arguments of the types that contain it.</summary>
    public static IEnumerable<ITypeSymbol> Parts(this ITypeSymbol type)
    {
        yield return type;
        IEnumerable<ITypeSymbol> inner = type switch
        {
            IArrayTypeSymbol array => [array.ElementType],
            IPointerTypeSymbol pointer => [pointer.PointedAtType],
            INamedTypeSymbol { ContainingType: { } outer } named => named.TypeArguments.Concat(outer.Parts().Skip(1)),
            INamedTypeSymbol named => named.TypeArguments,
            _ => [],
        };
        foreach (ITypeSymbol part in inner.SelectMany(Parts))
            yield return part;
    }

    public static bool IsTask(this ITypeSymbol type) => type.Is("System.Threading.Tasks", "Task");

    public static bool IsValueTask(this ITypeSymbol type) => type.Is("System.Threading.Tasks", "ValueTask");

    public static bool IsStream(this ITypeSymbol type) => type.Is("System.Collections.Generic", "IAsyncEnumerable");

    public static bool IsToken(this ITypeSymbol type) => type.Is("System.Threading", "CancellationToken");

    public static bool IsDisposable(this ITypeSymbol type) => type.Is("System", "IDisposable");

    public static bool IsAsyncDisposable(this ITypeSymbol type) => type.Is("System", "IAsyncDisposable");

    /// <summary>An interface marked with [RemoteObject].</summary>
    public static bool IsRemote(this ITypeSymbol type) =>
        type.TypeKind == TypeKind.Interface && type.GetAttributes().Any(static a => a.AttributeClass?.Is("Puma.Dataflow", "RemoteObjectAttribute") == true);

    public static bool IsPointer(this ITypeSymbol type) => type.TypeKind is TypeKind.Pointer or TypeKind.FunctionPointer;

    /// <summary>A delegate or an expression tree.</summary>
    public static bool IsCode(this ITypeSymbol type)
    {
        if (type.TypeKind == TypeKind.Delegate || type.SpecialType is SpecialType.System_Delegate or SpecialType.System_MulticastDelegate)
            return true;
        for (ITypeSymbol? t = type; t is not null; t = t.BaseType)
        {
            if (t.Is("System.Linq.Expressions", "Expression"))
                return true;
        }

        return false;
    }

    private static bool Is(this ITypeSymbol type, string space, string name) =>
        type.Name == name && type.ContainingType is null && type.ContainingNamespace?.ToDisplayString() == space;
}
