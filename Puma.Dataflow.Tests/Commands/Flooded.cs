namespace Puma.Dataflow.Tests.Commands;

/// <summary>What a flooded runnable can be asked.</summary>
public interface IFlooded
{
    /// <summary>Has it stop at a gate in each item, until the gate is open.</summary>
    ValueTask UseGateAsync(IGate gate);

    /// <summary>Tells how many items it has begun by now.</summary>
    ValueTask<Seen> AskAsync();

    /// <summary>Notes how many items it has begun by now.</summary>
    ValueTask NoteAsync();

    /// <summary>Tells what it noted.</summary>
    ValueTask<int> NotedAsync();

    /// <summary>Tells how many items it had begun at each tick.</summary>
    ValueTask<int[]> TicksAsync();
}

/// <summary>How many items a runnable had begun when a command ran, and the how manieth it was.</summary>
public sealed record Seen(int Begun, int Order);

/// <summary>Where a runnable stops in each item. Lives with the test.</summary>
[RemoteObject]
public interface IGate : IAsyncDisposable
{
    /// <summary>Waits for a step.</summary>
    /// <returns>Whether it is to be asked again.</returns>
    ValueTask<bool> PassAsync();

    /// <summary>Takes a number.</summary>
    ValueTask TellAsync(int begun);
}

/// <summary>A gate that lets one item through at each step.</summary>
internal sealed class SteppedGate : IGate
{
    private readonly SemaphoreSlim _arrived = new(0);
    private readonly SemaphoreSlim _steps = new(0);
    private readonly TaskCompletionSource<int> _told = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _isOpen;

    /// <summary>The first number that it was told.</summary>
    public Task<int> Told => _told.Task;

    /// <summary>Waits until an item stands at the gate.</summary>
    public async Task ArrivedAsync() => Assert.True(await _arrived.WaitAsync(Infrastructure.Waiting.Limit, TestContext.Current.CancellationToken), "No item came to the gate.");

    public void Step() => _steps.Release();

    /// <summary>Lets items through until one with a number stands at the gate.</summary>
    public async Task UntilItemAsync(int number)
    {
        await ArrivedAsync();
        for (int i = 1; i < number; i++)
        {
            Step();
            await ArrivedAsync();
        }
    }

    public void Open()
    {
        _isOpen = true;
        Step();
    }

    public async ValueTask<bool> PassAsync()
    {
        _arrived.Release();
        Assert.True(await _steps.WaitAsync(Infrastructure.Waiting.Limit));
        return !_isOpen;
    }

    public ValueTask TellAsync(int begun)
    {
        _told.TrySetResult(begun);
        return default;
    }

    public ValueTask DisposeAsync() => default;
}

/// <summary>What all flooded runnables have in common: it counts items, and fails when a command or a tick runs inside of one.</summary>
public sealed class FloodedWork
{
    private const int ToldTick = 20;

    private readonly List<int> _ticks = [];
    private IGate? _gate;
    private bool _passesFreely;
    private bool _hasToldTick;
    private bool _isInItem;
    private int _asked;

    public int Begun { get; private set; }

    public int Noted { get; private set; }

    public int[] Ticks => [.. _ticks];

    public bool HasGate => _gate is not null;

    public async ValueTask BeginAsync()
    {
        Check();
        _isInItem = true;
        Begun++;
        if (_gate is not null && !_passesFreely)
            _passesFreely = !await _gate.PassAsync();
    }

    public void End() => _isInItem = false;

    public ValueTask TellAsync() => _gate!.TellAsync(Begun);

    public ValueTask TickAsync()
    {
        Check();
        _ticks.Add(Begun);
        if (_ticks.Count < ToldTick || _gate is null || _hasToldTick)
            return default;
        _hasToldTick = true;
        return TellAsync();
    }

    public ValueTask UseGateAsync(IGate gate)
    {
        Check();
        _gate = gate;
        return default;
    }

    public ValueTask<Seen> AskAsync()
    {
        Check();
        return ValueTask.FromResult(new Seen(Begun, ++_asked));
    }

    public ValueTask NoteAsync()
    {
        Check();
        Noted = Begun;
        return default;
    }

    private void Check()
    {
        if (_isInItem)
            throw new InvalidOperationException("A command or a tick runs inside of an item.");
    }
}

/// <summary>A flooded runnable answers by its work, whatever its kind.</summary>
public interface IDoesFloodedWork : IFlooded
{
    FloodedWork Work { get; }

    ValueTask IFlooded.UseGateAsync(IGate gate) => Work.UseGateAsync(gate);

    ValueTask<Seen> IFlooded.AskAsync() => Work.AskAsync();

    ValueTask IFlooded.NoteAsync() => Work.NoteAsync();

    ValueTask<int> IFlooded.NotedAsync() => ValueTask.FromResult(Work.Noted);

    ValueTask<int[]> IFlooded.TicksAsync() => ValueTask.FromResult(Work.Ticks);
}

/// <summary>Passes on each item, when it was let through.</summary>
public sealed class FloodedRunnable : Runnable<int, int>, IDoesFloodedWork
{
    public FloodedWork Work { get; } = new();

    protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
    {
        await Work.BeginAsync();
        await EmitAsync(item, cancellationToken);
        Work.End();
    }

    protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => Work.TickAsync();
}

/// <summary>Emits without end, from when it has its gate.</summary>
public sealed class FloodedSource : SourceRunnable<int>, IDoesFloodedWork
{
    public FloodedWork Work { get; } = new();

    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        while (!Work.HasGate)
            await WaitForControlAsync(stopToken);
        while (true)
        {
            await Work.BeginAsync();
            Work.End();
            await EmitAsync(Work.Begun, stopToken);
        }
    }

    protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => Work.TickAsync();
}

/// <summary>Emits at each tick.</summary>
public sealed class FloodedTicks : SourceRunnable<int>, IDoesFloodedWork
{
    public FloodedWork Work { get; } = new();

    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        while (true)
            await WaitForControlAsync(stopToken);
    }

    protected override async ValueTask OnTickAsync(CancellationToken cancellationToken)
    {
        await Work.BeginAsync();
        await EmitAsync(Work.Begun, cancellationToken);
        Work.End();
    }
}

/// <summary>Counts the items of one input, and tells how many there were when the other one has its first.</summary>
public sealed class FloodedPorts : PortRunnable, IDoesFloodedWork
{
    public FloodedWork Work { get; } = new();

    public FloodedPorts()
    {
        Flood = new(async (_, _) =>
        {
            await Work.BeginAsync();
            Work.End();
        });
        Rare = new((_, _) => Work.TellAsync());
    }

    public Input<int> Flood { get; }

    public Input<int> Rare { get; }

    protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => Work.TickAsync();
}
