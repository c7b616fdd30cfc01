using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Puma.Dataflow.Generators;

/// <summary>What was found out about an interface and the remote objects that it uses: proxies to write, or problems.</summary>
internal readonly record struct Findings(EquatableArray<ProxyModel> Proxies, EquatableArray<Problem> Problems);

/// <summary>Reads a control interface, and the interfaces of the remote objects that it takes and gives.</summary>
internal sealed class InterfaceReader
{
    private readonly Compilation _compilation;
    private readonly CancellationToken _cancellationToken;
    private readonly HashSet<ISymbol> _seen = new(SymbolEqualityComparer.Default);
    private readonly List<ProxyModel> _proxies = [];
    private readonly List<Problem> _problems = [];

    /// <summary>The compiler says what is wrong.</summary>
    private bool _isBroken;

    private InterfaceReader(Compilation compilation, CancellationToken cancellationToken)
    {
        _compilation = compilation;
        _cancellationToken = cancellationToken;
    }

    /// <param name="type">The interface, closed.</param>
    /// <param name="location">Where problems are shown whose own place is in another assembly.</param>
    /// <param name="compilation">Where the proxy is made.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public static Findings Read(INamedTypeSymbol type, Location location, Compilation compilation, CancellationToken cancellationToken)
    {
        var reader = new InterfaceReader(compilation, cancellationToken);
        reader.ReadInterface(type, location);
        // Without one of the proxies the others are of no use, and do not always compile.
        return new(
            new(reader._problems.Count == 0 && !reader._isBroken ? [.. reader._proxies] : []),
            new([.. reader._problems]));
    }

    private void ReadInterface(INamedTypeSymbol type, Location location)
    {
        if (!_seen.Add(type))
            return;
        _cancellationToken.ThrowIfCancellationRequested();
        location = PlaceOf(type, location);
        if (!IsReachable(type))
        {
            Report(location, ControlDiagnostics.OutOfReach, type.Show());
            return;
        }

        if (HasPointer(type, location))
            return;
        CheckBases(type, location);
        var methods = new List<MethodModel>();
        // Bases that differ in what they say about null are one for the runtime, and are implemented once.
        foreach (INamedTypeSymbol owner in type.AllInterfaces.Insert(0, type).Distinct<INamedTypeSymbol>(SymbolEqualityComparer.Default))
        {
            if (owner.IsDisposable())
                continue;
            foreach (ISymbol member in owner.GetMembers().Where(IsToImplement))
            {
                Location place = PlaceOf(member, location);
                if (!HasPointer(owner, place) && ReadMember(type, member, place) is { } method)
                    methods.Add(method);
            }
        }

        string name = type.WriteNotNull();
        _proxies.Add(new(FileName.Of(name), name, new([.. methods])));
    }

    private void CheckBases(INamedTypeSymbol type, Location location)
    {
        ITypeSymbol? disposable = type.AllInterfaces.FirstOrDefault(TypeShape.IsDisposable);
        ITypeSymbol? asyncDisposable = type.AllInterfaces.FirstOrDefault(TypeShape.IsAsyncDisposable);
        if (type.IsRemote())
        {
            if (asyncDisposable is null || disposable is not null)
                Report(location, ControlDiagnostics.RemoteWithoutDispose, type.Show());
        }
        else if ((disposable ?? asyncDisposable) is { } wrong)
        {
            Report(location, ControlDiagnostics.DisposableControl, type.Show(), wrong.Show());
        }
    }

    /// <summary>Generated code is not unsafe, so it cannot name such an interface.</summary>
    private bool HasPointer(INamedTypeSymbol type, Location location)
    {
        bool has = type.Parts().Any(TypeShape.IsPointer);
        if (has)
            Report(location, ControlDiagnostics.ByReference, $"The type argument of '{type.Show()}'", "a pointer");
        return has;
    }

    /// <summary>Neither a detail of the interface nor a default of a base's member.</summary>
    private static bool IsToImplement(ISymbol member) =>
        (member.IsAbstract || (member.IsVirtual && !member.IsStatic))
        && member switch
        {
            IMethodSymbol method => method.AssociatedSymbol is null && method.ExplicitInterfaceImplementations.IsEmpty,
            IPropertySymbol property => property.ExplicitInterfaceImplementations.IsEmpty,
            IEventSymbol @event => @event.ExplicitInterfaceImplementations.IsEmpty,
            _ => false,
        };

    private MethodModel? ReadMember(INamedTypeSymbol type, ISymbol member, Location location)
    {
        if (member.IsStatic)
            return Report(location, ControlDiagnostics.StaticAbstract, member.Show());
        if (member is not IMethodSymbol method)
            return Report(location, ControlDiagnostics.NotAMethod, member.Show(), member is IEventSymbol ? "an event" : member is IPropertySymbol { IsIndexer: true } ? "an indexer" : "a property");
        if (!_compilation.IsSymbolAccessibleWithin(method, _compilation.Assembly))
            return Report(location, ControlDiagnostics.OutOfReach, method.Show());
        if (method.IsGenericMethod)
            return Report(location, ControlDiagnostics.GenericMethod, method.Show());

        foreach (IParameterSymbol parameter in method.Parameters)
            CheckParameter(method, parameter, PlaceOf(parameter, location));
        if (method.Parameters.Count(static p => p.Type.IsToken()) > 1)
            Report(location, ControlDiagnostics.SeveralTokens, method.Show());

        ITypeSymbol returned = method.ReturnType;
        if (returned.TypeKind == TypeKind.Error)
        {
            _isBroken = true;
            return null;
        }

        if (method.ReturnsByRef || method.ReturnsByRefReadonly || !(returned.IsTask() || returned.IsValueTask() || returned.IsStream()))
            return Report(location, ControlDiagnostics.ReturnType, method.Show(), returned.Show());
        ITypeSymbol? result = ((INamedTypeSymbol)returned).TypeArguments.SingleOrDefault();
        if (result is not null && returned.IsStream() && result.IsRemote())
            return Report(location, ControlDiagnostics.StreamOfRemotes, method.Show(), result.Show());
        if (result is not null && result.Parts().Any(TypeShape.IsPointer))
            return Report(location, ControlDiagnostics.ByReference, $"The result of '{method.Show()}'", "a pointer");
        if (result is not null)
            CheckValue(method, result, location);

        return new(
            $"{type.Name()}.{method.Name}",
            method.ContainingType.WriteNotNull(),
            Escape(method.Name),
            returned.Write(),
            method.ContainingType.IsAsyncDisposable() ? MethodForm.Release
                : returned.IsTask() ? MethodForm.Task
                : returned.IsValueTask() ? MethodForm.ValueTask
                : MethodForm.Stream,
            returned.NullableAnnotation == NullableAnnotation.Annotated,
            result is null ? null : ValueOf(result),
            new([.. method.Parameters.Select(static p => new ParameterModel(ValueOf(p.Type), p.Type.IsToken()))]));
    }

    private void CheckParameter(IMethodSymbol method, IParameterSymbol parameter, Location location)
    {
        string? what = parameter.RefKind != RefKind.None ? "passed by reference"
            : parameter.Type.Parts().Any(TypeShape.IsPointer) ? "a pointer"
            : parameter.Type.IsRefLikeType ? "a ref struct"
            : null;
        if (what is null && !parameter.Type.IsToken())
            CheckValue(method, parameter.Type, location);
        else if (what is not null)
            Report(location, ControlDiagnostics.ByReference, $"Parameter '{parameter.Name}' of '{method.Show()}'", what);
    }

    private void CheckValue(IMethodSymbol method, ITypeSymbol type, Location location)
    {
        if (type.IsRemote())
        {
            ReadInterface((INamedTypeSymbol)type, location);
            return;
        }

        foreach (ITypeSymbol part in type.Parts())
        {
            if (part.TypeKind == TypeKind.Error)
                _isBroken = true;
            else if (part.IsStream())
                Report(location, ControlDiagnostics.StreamAsValue, method.Show());
            else if (part.IsCode())
                Report(location, ControlDiagnostics.DelegateAsValue, method.Show(), part.Show());
            else if (part.IsRemote())
                Report(location, ControlDiagnostics.RemoteInsideValue, method.Show(), part.Show(), type.Show());
            else if (part.IsToken())
                Report(location, ControlDiagnostics.TokenInsideValue, method.Show(), type.Show());
            else
                continue;
            return;
        }
    }

    private static ValueModel ValueOf(ITypeSymbol type) =>
        type.IsRemote() ? new(type.WriteNotNull(), IsRemote: true, type.NullableAnnotation == NullableAnnotation.Annotated)
        // A call with a dynamic argument would be bound by reflection.
        : type.TypeKind == TypeKind.Dynamic ? new(type.NullableAnnotation == NullableAnnotation.Annotated ? "object?" : "object", IsRemote: false, CanBeNull: false)
        : new(type.Write(), IsRemote: false, CanBeNull: false);

    private static string Escape(string name) =>
        SyntaxFacts.GetKeywordKind(name) == SyntaxKind.None && SyntaxFacts.GetContextualKeywordKind(name) == SyntaxKind.None ? name : "@" + name;

    private bool IsReachable(ITypeSymbol type) =>
        _compilation.IsSymbolAccessibleWithin(type, _compilation.Assembly)
        && !type.Parts().OfType<INamedTypeSymbol>().Any(static part => Around(part).Any(static t => t.IsFileLocal));

    private static IEnumerable<INamedTypeSymbol> Around(INamedTypeSymbol type)
    {
        for (INamedTypeSymbol? t = type; t is not null; t = t.ContainingType)
            yield return t;
    }

    private Location PlaceOf(ISymbol symbol, Location otherwise) =>
        symbol.Locations.FirstOrDefault(l => l.SourceTree is { } tree && _compilation.ContainsSyntaxTree(tree)) ?? otherwise;

    private MethodModel? Report(Location location, DiagnosticDescriptor descriptor, params string[] arguments)
    {
        _problems.Add(Problem.At(Place.Of(location), descriptor, arguments));
        return null;
    }
}
