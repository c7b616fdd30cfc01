using System.Collections.Immutable;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Text;

namespace Puma.Dataflow.Generators;

/// <summary>
/// Makes the proxies of control interfaces: of those that a call of <c>PipelineRun.Control</c> names, of those that are marked in this
/// assembly, and of the remote objects that these take and give.
/// </summary>
[Generator(LanguageNames.CSharp)]
public sealed class ControlProxyGenerator : IIncrementalGenerator
{
    internal const string ProxiesStep = "Proxies";
    internal const string ProblemsStep = "Problems";

    /// <inheritdoc/>
    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValuesProvider<Findings> called = context.SyntaxProvider.CreateSyntaxProvider(
            static (node, _) => node is GenericNameSyntax { Identifier.ValueText: "Control", Arity: 1 },
            static (syntax, cancellationToken) => ReadCall(syntax, cancellationToken));
        IncrementalValuesProvider<Findings> marked = Marked(context, "ControlInterfaceAttribute", ReadControlInterface);
        IncrementalValuesProvider<Findings> remote = Marked(context, "RemoteObjectAttribute", ReadRemoteObject);
        IncrementalValueProvider<ImmutableArray<Findings>> all = called.Collect()
            .Combine(marked.Collect())
            .Combine(remote.Collect())
            .Select(static (found, _) => ImmutableArray.Create([.. found.Left.Left, .. found.Left.Right, .. found.Right]));

        context.RegisterSourceOutput(
            all.SelectMany(static (found, _) => ByFile(found.SelectMany(static f => f.Proxies))).WithTrackingName(ProxiesStep),
            static (output, proxy) => output.AddSource(proxy.File, SourceText.From(ProxyWriter.Write(proxy), Encoding.UTF8)));
        context.RegisterSourceOutput(
            all.SelectMany(static (found, _) => found.SelectMany(static f => f.Problems).Distinct()).WithTrackingName(ProblemsStep),
            static (output, problem) => output.ReportDiagnostic(problem.ToDiagnostic()));
    }

    private static IEnumerable<ProxyModel> ByFile(IEnumerable<ProxyModel> proxies) =>
        proxies.GroupBy(static p => p.File, StringComparer.Ordinal).OrderBy(static g => g.Key, StringComparer.Ordinal).Select(static g => g.First());

    private static IncrementalValuesProvider<Findings> Marked(
        IncrementalGeneratorInitializationContext context,
        string attribute,
        Func<INamedTypeSymbol, Location, Compilation, CancellationToken, Findings> read) =>
        context.SyntaxProvider.ForAttributeWithMetadataName(
            $"Puma.Dataflow.{attribute}",
            static (node, _) => node is InterfaceDeclarationSyntax,
            (syntax, cancellationToken) => KnowsTheLibrary(syntax.SemanticModel.Compilation)
                ? read((INamedTypeSymbol)syntax.TargetSymbol, ((InterfaceDeclarationSyntax)syntax.TargetNode).Identifier.GetLocation(), syntax.SemanticModel.Compilation, cancellationToken)
                : default);

    private static Findings ReadCall(GeneratorSyntaxContext syntax, CancellationToken cancellationToken)
    {
        TypeSyntax argument = ((GenericNameSyntax)syntax.Node).TypeArgumentList.Arguments[0];
        if (syntax.SemanticModel.GetSymbolInfo(syntax.Node, cancellationToken) is not { Symbol: IMethodSymbol method }
            || method is not { ContainingType: { Name: "PipelineRun", Arity: 0 } owner, TypeArguments.Length: 1 }
            || owner.ContainingNamespace.ToDisplayString() != "Puma.Dataflow"
            || !KnowsTheLibrary(syntax.SemanticModel.Compilation))
        {
            return default;
        }

        ITypeSymbol type = method.TypeArguments[0];
        // Those who name the type arguments get the proxy made.
        if (type.Parts().Any(static part => part.TypeKind is TypeKind.TypeParameter or TypeKind.Error))
            return default;
        return type is INamedTypeSymbol { TypeKind: TypeKind.Interface } named
            ? InterfaceReader.Read(named, argument.GetLocation(), syntax.SemanticModel.Compilation, cancellationToken)
            : Only(Problem.At(Place.Of(argument.GetLocation()), ControlDiagnostics.NotAnInterface, type.Show()));
    }

    private static Findings ReadControlInterface(INamedTypeSymbol type, Location location, Compilation compilation, CancellationToken cancellationToken) =>
        IsOpen(type)
            ? Only(Problem.At(Place.Of(location), ControlDiagnostics.OpenGeneric, type.Show()))
            : InterfaceReader.Read(type, location, compilation, cancellationToken);

    /// <summary>An open one is read closed, where it is used.</summary>
    private static Findings ReadRemoteObject(INamedTypeSymbol type, Location location, Compilation compilation, CancellationToken cancellationToken) =>
        IsOpen(type) ? default : InterfaceReader.Read(type, location, compilation, cancellationToken);

    private static bool IsOpen(INamedTypeSymbol type) => type.Parts().Any(static part => part.TypeKind == TypeKind.TypeParameter);

    private static bool KnowsTheLibrary(Compilation compilation) => compilation.GetTypeByMetadataName("Puma.Dataflow.Control.ControlProxies") is not null;

    private static Findings Only(Problem problem) => new(default, new([problem]));
}
