namespace Puma.Dataflow.Testing;

/// <summary>Runs one runnable that handles items and emits values.</summary>
/// <typeparam name="TIn">What it handles.</typeparam>
/// <typeparam name="TOut">What it emits.</typeparam>
public sealed class RunnableHarness<TIn, TOut> : RunnableHarness
{
    private readonly Func<Runnable<TIn, TOut>> _factory;
    private readonly HarnessInput<TIn> _input = new();
    private readonly HarnessOutput<TOut> _output = new();

    internal RunnableHarness(Func<Runnable<TIn, TOut>> factory, StageOptions? options) : base(options)
    {
        ArgumentNullException.ThrowIfNull(factory);
        _factory = factory;
    }

    /// <summary>Everything that was emitted so far.</summary>
    public IReadOnlyList<TOut> Outputs => _output.Values;

    /// <summary>Sends an item and waits until the runnable has handled it, or waits for the time of its next attempt.</summary>
    /// <param name="item">The item.</param>
    /// <returns>What was emitted meanwhile.</returns>
    /// <exception cref="StageFaultedException">The item faulted the stage.</exception>
    /// <exception cref="InvalidOperationException">The harness was not started, or the runnable has ended.</exception>
    public async Task<IReadOnlyList<TOut>> SendAsync(TIn item)
    {
        int before = _output.Count;
        await _input.SendAsync(Run, item).ConfigureAwait(false);
        await RestAsync().ConfigureAwait(false);
        return _output.From(before);
    }

    private protected override PipelineEnd<NoInput> Describe() => _input.Begin().Then(Remember(_factory), Options).ForEach(_output.Add);

    private protected override void EndInput() => _input.End();
}

/// <summary>Runs one runnable that handles items and emits nothing.</summary>
/// <typeparam name="TIn">What it handles.</typeparam>
public sealed class SinkHarness<TIn> : RunnableHarness
{
    private readonly Func<SinkRunnable<TIn>> _factory;
    private readonly HarnessInput<TIn> _input = new();

    internal SinkHarness(Func<SinkRunnable<TIn>> factory, StageOptions? options) : base(options)
    {
        ArgumentNullException.ThrowIfNull(factory);
        _factory = factory;
    }

    /// <summary>Sends an item and waits until the runnable has handled it, or waits for the time of its next attempt.</summary>
    /// <param name="item">The item.</param>
    /// <exception cref="StageFaultedException">The item faulted the stage.</exception>
    /// <exception cref="InvalidOperationException">The harness was not started, or the runnable has ended.</exception>
    public async Task SendAsync(TIn item)
    {
        await _input.SendAsync(Run, item).ConfigureAwait(false);
        await RestAsync().ConfigureAwait(false);
    }

    private protected override PipelineEnd<NoInput> Describe() => _input.Begin().To(Remember(_factory), Options);

    private protected override void EndInput() => _input.End();
}

/// <summary>One input of a runnable in a harness.</summary>
internal sealed class HarnessInput<T>
{
    private readonly SourceProbe<T> _probe = new();

    public PipelineBuilder<NoInput, T> Begin() => Pipeline.From(_probe);

    public void End() => _probe.Complete();

    /// <summary>Hands an item over; when the run takes no more, throws what faulted it, if something did.</summary>
    public async Task SendAsync(PipelineRun run, T item)
    {
        Task sending = _probe.SendAsync(item);
        try
        {
            await Patience.WaitAsync(sending, () => $"The runnable does not take the item:{Environment.NewLine}{run.Snapshot()}").ConfigureAwait(false);
        }
        catch (InvalidOperationException) when (run.State is RunState.Faulting or RunState.Faulted)
        {
            await run.Completion.ConfigureAwait(false);
            throw;
        }
    }
}

/// <summary>One output of a runnable in a harness. Written by the run, read by the test.</summary>
internal sealed class HarnessOutput<T>
{
    private readonly Lock _gate = new();
    private readonly List<T> _values = [];

    public int Count
    {
        get
        {
            lock (_gate)
                return _values.Count;
        }
    }

    public IReadOnlyList<T> Values => From(0);

    public void Add(T value)
    {
        lock (_gate)
            _values.Add(value);
    }

    public IReadOnlyList<T> From(int index)
    {
        lock (_gate)
            return _values[index..];
    }
}
