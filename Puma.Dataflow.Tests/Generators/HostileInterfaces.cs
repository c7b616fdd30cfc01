using System.Diagnostics.CodeAnalysis;

#pragma warning disable CA1068, CA1715 // it is odd on purpose

namespace Puma.Dataflow.Tests.Generators.@namespace;

/// <summary>Names that are keywords, names that clash, and types that are hard to write.</summary>
[ControlInterface]
public interface @interface : IFirst, ISecond, IEcho<(int Id, string? @class)>, IEcho<string?>
{
    Task @class(int @event, string @await);

    ValueTask @await(CancellationToken @token = default);

    Task<string> Overloaded();

    Task<string> Overloaded(int value);

    Task<string> Overloaded(long value, CancellationToken cancellationToken = default);

    Task<string> Overloaded(object? value);

    Task<string> Overloaded(int[] value);

    /// <summary>The names that the proxy uses itself.</summary>
    Task<string> Proxy(string _target, string s_member0, string target, string arguments, string session, string p0, CancellationToken cancellationToken);

    Task<int> Register();

    Task<int> Sum(params int[] values);

    Task<string> WithDefaults(CancellationToken cancellationToken = default, int count = 3, string? name = null, DayOfWeek day = DayOfWeek.Friday);

    Task<string> Many(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l, int m, int n, int o, int p, string? q, CancellationToken cancellationToken);

    Task<(int Count, (string Name, object?[]? Values)? Inner)> Tuples((string @event, List<string?> Names) one);

    ValueTask<Outer<string?>.Inner<int>?> Nested(Outer<string?>.Inner<int> inner, Outer<string?>.Place place);

    Task<dynamic> Dynamic(dynamic value, dynamic? other, List<dynamic> more);

    Task? Perhaps(bool isThere);

    Task<string?> Flow([AllowNull] string text, [DisallowNull] string? other);

    [Obsolete("Here to be forwarded.")]
    Task<nint> Old(nuint value);

    IAsyncEnumerable<string?> Values(int count, string? value, CancellationToken cancellationToken = default);

    IAsyncEnumerable<(int A, int B)> Pairs();

    /// <summary>Forwarded, so that the object's own form of it is called.</summary>
    Task<string> Default() => Task.FromResult("of the interface");

    sealed string NotCalledFromAfar() => Detail();

    static int Count { get; set; }

    private string Detail() => "detail";

    /// <summary>A default of a member of a base.</summary>
    Task<string> ISecond.OfSecond() => Task.FromResult("of the derived interface");
}

public interface IFirst
{
    Task<string> Same(int value);
}

public interface ISecond
{
    Task<string> Same(int value);

    Task<string> OfSecond();
}

public interface IEcho<T>
{
    ValueTask<T> Echo(T value);

    Task<Dictionary<string, T[]>> EchoMany(List<T> values);
}

public static class Outer<T>
{
    public enum Place
    {
        Here,
        There,
    }

    public sealed record Inner<TOther>(T One, TOther Other);
}

/// <summary>A remote object that gives and takes others.</summary>
[RemoteObject]
public interface IViewer : IAsyncDisposable
{
    Task<string> Show(string text, CancellationToken cancellationToken = default);

    Task<IViewer?> Next();

    Task<IKeyed<int>> KeyOf(IViewer other);
}

[RemoteObject]
public interface IKeyed<T> : IAsyncDisposable
{
    ValueTask<T> Key();
}

/// <summary>Takes and gives remote objects.</summary>
[ControlInterface]
internal interface IViewers
{
    Task Attach(string name, IViewer viewer, IViewer? second, CancellationToken cancellationToken);

    Task<bool> AttachOne(IViewer? viewer);

    Task<IViewer> Find(string name);

    ValueTask<IViewer?> TryFind(string name);

    IAsyncEnumerable<string> Texts(IViewer viewer);
}
