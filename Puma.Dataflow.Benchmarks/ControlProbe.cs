using System.Diagnostics;

namespace Puma.Dataflow.Benchmarks;

/// <summary>What the stage under measurement can be asked.</summary>
internal interface IProbe
{
    /// <summary>Tells when this ran, and how many items were begun by then.</summary>
    ValueTask<Moment> NowAsync();

    /// <summary>Has the next item stand at a gate.</summary>
    ValueTask HoldNextAsync(IGate gate);

    ValueTask<int> AddOneAsync(int value);

    /// <summary>Begins the grid of the ticks now.</summary>
    ValueTask RestartTicksAsync();

    /// <summary>Tells how late each tick was against its grid, in microseconds.</summary>
    ValueTask<double[]> LatenessAsync();
}

/// <summary>When something ran, by a clock that all processes share, and how many items were begun by then.</summary>
public sealed record Moment(long Timestamp, long Begun);

/// <summary>Where an item stands until it is let through.</summary>
[RemoteObject]
internal interface IGate : IAsyncDisposable
{
    ValueTask PassAsync(long begun);
}

/// <inheritdoc/>
internal sealed class Gate : IGate
{
    private readonly TaskCompletionSource<long> _arrived = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The number of the item that stands here.</summary>
    public Task<long> Arrived => _arrived.Task;

    public void Open() => _opened.SetResult();

    public async ValueTask PassAsync(long begun)
    {
        _arrived.SetResult(begun);
        await _opened.Task.ConfigureAwait(false);
    }

    public ValueTask DisposeAsync() => default;
}

/// <summary>Does a little with each item, counts them, and notes how late its ticks are against their grid.</summary>
internal sealed class ControlProbe : SinkRunnable<int>, IProbe
{
    public static readonly TimeSpan TickInterval = TimeSpan.FromMilliseconds(5);

    private readonly List<double> _late = [];
    private IGate? _gate;
    private long _begun;
    private long _start;

    /// <summary>The work of one item.</summary>
    public static void Spin() => Thread.SpinWait(500);

    protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
    {
        _begun++;
        if (_gate is { } gate)
        {
            _gate = null;
            await gate.PassAsync(_begun).ConfigureAwait(false);
        }

        Spin();
    }

    protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
    {
        _late.Add(Stopwatch.GetElapsedTime(_start).TotalMicroseconds % TickInterval.TotalMicroseconds);
        return default;
    }

    public ValueTask<Moment> NowAsync() => ValueTask.FromResult(new Moment(Stopwatch.GetTimestamp(), _begun));

    public ValueTask HoldNextAsync(IGate gate)
    {
        _gate = gate;
        return default;
    }

    public ValueTask<int> AddOneAsync(int value) => ValueTask.FromResult(value + 1);

    public ValueTask RestartTicksAsync()
    {
        Context.Ticks.Pause();
        _start = Stopwatch.GetTimestamp();
        Context.Ticks.Resume();
        _late.Clear();
        return default;
    }

    public ValueTask<double[]> LatenessAsync() => ValueTask.FromResult(_late.ToArray());
}
