namespace Puma.Dataflow.Lifecycle;

/// <summary>What a stage was told: bits, at which its stream looks before each item, and the tokens of its user code. Any thread.</summary>
internal sealed class StageSignals
{
    private readonly CancellationTokenSource _discarding = new();
    private readonly CancellationTokenSource _stopping = new();

    // Bits are set by any thread; Control is cleared by the stream, the others never.
    private int _attention;

    /// <summary>Fires when the stage gives up what it holds.</summary>
    public CancellationToken DiscardToken => _discarding.Token;

    /// <summary>Fires when a source is asked to end, and when the stage gives up what it holds.</summary>
    public CancellationToken StopToken => _stopping.Token;

    public bool HasAny => Volatile.Read(ref _attention) != 0;

    public bool Has(Attention bits) => (Volatile.Read(ref _attention) & (int)bits) != 0;

    public void Set(Attention bits) => Interlocked.Or(ref _attention, (int)bits);

    public void Clear(Attention bits) => Interlocked.And(ref _attention, ~(int)bits);

    /// <summary>Fires the token of those who are to stop. Ends when what user code has registered there has run.</summary>
    public Task FireStopAsync() => _stopping.CancelAsync();

    /// <summary>Fires the token of those who are to give up. Ends when what user code has registered there has run.</summary>
    public Task FireDiscardAsync() => _discarding.CancelAsync();
}
