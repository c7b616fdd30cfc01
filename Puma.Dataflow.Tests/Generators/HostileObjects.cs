using Puma.Dataflow.Tests.Generators.@namespace;

namespace Puma.Dataflow.Tests.Generators;

/// <summary>Answers with what it was called with.</summary>
internal sealed class Hostile : SinkRunnable<int>, @interface
{
    public List<string> Calls { get; } = [];

    public CancellationToken LastToken { get; private set; }

    protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;

    Task<string> IFirst.Same(int value) => Task.FromResult($"first {value}");

    Task<string> ISecond.Same(int value) => Task.FromResult($"second {value}");

    ValueTask<(int Id, string? @class)> IEcho<(int Id, string? @class)>.Echo((int Id, string? @class) value) => new(value);

    Task<Dictionary<string, (int Id, string? @class)[]>> IEcho<(int Id, string? @class)>.EchoMany(List<(int Id, string? @class)> values) =>
        Task.FromResult(new Dictionary<string, (int Id, string? @class)[]> { ["all"] = [.. values] });

    ValueTask<string?> IEcho<string?>.Echo(string? value) => new(value);

    Task<Dictionary<string, string?[]>> IEcho<string?>.EchoMany(List<string?> values) => Task.FromResult(new Dictionary<string, string?[]> { ["all"] = [.. values] });

    public Task @class(int @event, string @await)
    {
        Calls.Add($"class {@event} {@await}");
        return Task.CompletedTask;
    }

    public ValueTask @await(CancellationToken token = default)
    {
        Calls.Add("await");
        LastToken = token;
        return default;
    }

    public Task<string> Overloaded() => Task.FromResult("none");

    public Task<string> Overloaded(int value) => Task.FromResult($"int {value}");

    public Task<string> Overloaded(long value, CancellationToken cancellationToken = default) => Task.FromResult($"long {value}");

    public Task<string> Overloaded(object? value) => Task.FromResult($"object {value}");

    public Task<string> Overloaded(int[] value) => Task.FromResult($"array {value.Length}");

    public Task<string> Proxy(string _target, string s_member0, string target, string arguments, string session, string p0, CancellationToken cancellationToken) =>
        Task.FromResult(string.Join(' ', _target, s_member0, target, arguments, session, p0));

    public Task<int> Register() => Task.FromResult(1);

    public Task<int> Sum(params int[] values) => Task.FromResult(values.Sum());

    public Task<string> WithDefaults(CancellationToken cancellationToken = default, int count = 3, string? name = null, DayOfWeek day = DayOfWeek.Friday) =>
        Task.FromResult($"{count} {name ?? "null"} {day}");

    public Task<string> Many(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l, int m, int n, int o, int p, string? q, CancellationToken cancellationToken) =>
        Task.FromResult(string.Join(' ', a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q));

    public Task<(int Count, (string Name, object?[]? Values)? Inner)> Tuples((string @event, List<string?> Names) one) =>
        Task.FromResult<(int, (string, object?[]?)?)>((one.Names.Count, (one.@event, null)));

    public ValueTask<Outer<string?>.Inner<int>?> Nested(Outer<string?>.Inner<int> inner, Outer<string?>.Place place) =>
        new(place == Outer<string?>.Place.Here ? inner : null);

    public Task<dynamic> Dynamic(dynamic value, dynamic? other, List<dynamic> more) => Task.FromResult<dynamic>($"{value} {other} {more.Count}");

    public Task? Perhaps(bool isThere) => isThere ? Task.CompletedTask : null;

    public Task<string?> Flow(string? text, string? other) => Task.FromResult(text ?? other);

    public Task<nint> Old(nuint value) => Task.FromResult((nint)value);

    public async IAsyncEnumerable<string?> Values(int count, string? value, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        LastToken = cancellationToken;
        for (int i = 0; i < count; i++)
        {
            await Task.Yield();
            yield return value;
        }
    }

    public async IAsyncEnumerable<(int A, int B)> Pairs()
    {
        await Task.Yield();
        yield return (1, 2);
    }

    public Task<string> Default() => Task.FromResult("of the object");
}

/// <summary>A remote object that keeps what it is shown.</summary>
internal sealed class Viewer(string name, Viewer? next = null) : IViewer, IKeyed<int>
{
    public bool IsDisposed { get; private set; }

    public Task<string> Show(string text, CancellationToken cancellationToken = default) => Task.FromResult($"{name}: {text}");

    public Task<IViewer?> Next() => Task.FromResult<IViewer?>(next);

    public async Task<IKeyed<int>> KeyOf(IViewer other) => new Viewer(await other.Show("key"));

    public ValueTask<int> Key() => new(name.Length);

    public ValueTask DisposeAsync()
    {
        IsDisposed = true;
        return default;
    }
}

/// <summary>Keeps the viewers that it is given.</summary>
internal sealed class Viewers : SinkRunnable<int>, IViewers
{
    private readonly Dictionary<string, IViewer> _viewers = [];

    public IReadOnlyCollection<IViewer> All => _viewers.Values;

    protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;

    public Task Attach(string name, IViewer viewer, IViewer? second, CancellationToken cancellationToken)
    {
        _viewers[name] = viewer;
        if (second is not null)
            _viewers[name + " 2"] = second;
        return Task.CompletedTask;
    }

    public Task<bool> AttachOne(IViewer? viewer) => Task.FromResult(viewer is not null && _viewers.TryAdd("one", viewer));

    public Task<IViewer> Find(string name) => Task.FromResult(_viewers[name]);

    public ValueTask<IViewer?> TryFind(string name) => new(_viewers.GetValueOrDefault(name));

    public async IAsyncEnumerable<string> Texts(IViewer viewer)
    {
        // Ends the lease of this enumeration.
        await using (viewer)
        {
            yield return await viewer.Show("a");
            yield return await viewer.Show("b");
        }
    }
}
