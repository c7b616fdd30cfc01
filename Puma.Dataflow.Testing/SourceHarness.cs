namespace Puma.Dataflow.Testing;

/// <summary>Runs one runnable that emits values of its own accord; it emits no further than the test asks, but for the one value that fills the only slot.</summary>
/// <typeparam name="TOut">What it emits.</typeparam>
public sealed class SourceHarness<TOut> : RunnableHarness
{
    private readonly Func<SourceRunnable<TOut>> _factory;
    private readonly SinkProbe<TOut> _sink = new();

    internal SourceHarness(Func<SourceRunnable<TOut>> factory, StageOptions? options) : base(options)
    {
        ArgumentNullException.ThrowIfNull(factory);
        _factory = factory;
    }

    /// <summary>What the test has taken so far.</summary>
    public IReadOnlyList<TOut> Outputs => _sink.Received;

    /// <summary>Takes the next value and waits for it.</summary>
    /// <exception cref="ProbeException">The runnable ended before a value came.</exception>
    /// <exception cref="InvalidOperationException">The harness was not started.</exception>
    public Task<TOut> NextAsync()
    {
        _ = Run;
        return _sink.NextAsync();
    }

    /// <summary>Takes everything that the runnable still emits, until it ends by itself.</summary>
    /// <returns>Everything that was taken from the start on.</returns>
    /// <exception cref="StageFaultedException">The runnable failed.</exception>
    /// <exception cref="InvalidOperationException">The harness was not started.</exception>
    public async Task<IReadOnlyList<TOut>> ReadToEndAsync()
    {
        _ = Run;
        IReadOnlyList<TOut> outputs = await _sink.ReadToEndAsync().ConfigureAwait(false);
        await Run.Completion.ConfigureAwait(false);
        return outputs;
    }

    private protected override PipelineEnd<NoInput> Describe() => Pipeline.From(Remember(_factory), Options).To(_sink, new StageOptions { Name = Options.Name + "-outputs", BoundedCapacity = 1 });

    private protected override void EndInput()
    {
        // What it has emitted before it was asked to end is taken too.
        Run.Complete();
        _sink.TakeAll();
    }

    // Only a source that waits for a slot is known to wait; one that is in its own code may go on at any moment.
    private protected override bool IsAtRest() => Node.Activity == StageActivity.Ended || (!Node.NeedsAttention && Node.Activity == StageActivity.WaitingForOutput);

    private protected override bool IsInTheMiddle() => Node.Activity is not (StageActivity.WaitingForOutput or StageActivity.Ended);

    private protected override bool RestsAfterStart => false;
}
