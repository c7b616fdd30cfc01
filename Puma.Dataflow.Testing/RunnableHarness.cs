using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Time.Testing;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Testing;

/// <summary>
/// Runs one runnable alone, on the real engine and on a clock that only the test moves. Each call returns when the runnable has handled
/// what it was given, so a test reads as if the runnable ran in line.
/// </summary>
/// <remarks>Made by <c>For</c>. Belongs to one test: its members are not for several threads at once.</remarks>
public abstract class RunnableHarness : IAsyncDisposable
{
    private TaskCompletionSource _activity = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private PipelineRun? _run;
    private StageNode? _node;

    private protected RunnableHarness(StageOptions? options)
    {
        options ??= new StageOptions();
        if (options.MaxDegreeOfParallelism != 1)
            throw new ArgumentException($"A harness runs one instance alone, but MaxDegreeOfParallelism is {options.MaxDegreeOfParallelism}. Use a pipeline with probes to test a pool.", nameof(options));
        Options = options with { Name = options.Name ?? "runnable" };
    }

    /// <summary>The clock of the runnable. <see cref="AdvanceAsync"/> moves it step by step; moving it directly makes one jump.</summary>
    public FakeTimeProvider Time { get; } = new();

    /// <summary>Everything that the library and the runnable log.</summary>
    public LogRecorder Log { get; } = new();

    /// <summary>The numbers of the runnable's stage now.</summary>
    /// <exception cref="InvalidOperationException">The harness was not started.</exception>
    public StageReport Report => Node.Report();

    /// <summary>What the runnable reports.</summary>
    /// <exception cref="InvalidOperationException">The harness was not started.</exception>
    public StageStatus Status => Run.Stage(Node.Name).Status;

    /// <summary>The state of the run.</summary>
    /// <exception cref="InvalidOperationException">The harness was not started.</exception>
    public RunState State => Run.State;

    private protected StageOptions Options { get; }

    private protected Runnable? Made { get; set; }

    private protected PipelineRun Run => _run ?? throw new InvalidOperationException("The harness was not started: call StartAsync first.");

    private protected StageNode Node => _node ?? throw new InvalidOperationException("The harness was not started: call StartAsync first.");

    /// <summary>A harness for a runnable that handles items and emits values.</summary>
    /// <typeparam name="TIn">What it handles.</typeparam>
    /// <typeparam name="TOut">What it emits.</typeparam>
    /// <param name="factory">Makes the runnable.</param>
    /// <param name="options">The settings of its stage.</param>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="ArgumentException">The options ask for several instances.</exception>
    public static RunnableHarness<TIn, TOut> For<TIn, TOut>(Func<Runnable<TIn, TOut>> factory, StageOptions? options = null) => new(factory, options);

    /// <summary>A harness for a runnable that handles items and emits nothing.</summary>
    /// <typeparam name="TIn">What it handles.</typeparam>
    /// <param name="factory">Makes the runnable.</param>
    /// <param name="options">The settings of its stage.</param>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="ArgumentException">The options ask for several instances.</exception>
    public static SinkHarness<TIn> For<TIn>(Func<SinkRunnable<TIn>> factory, StageOptions? options = null) => new(factory, options);

    /// <summary>A harness for a runnable that emits values of its own accord.</summary>
    /// <typeparam name="TOut">What it emits.</typeparam>
    /// <param name="factory">Makes the runnable.</param>
    /// <param name="options">The settings of its stage.</param>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="ArgumentException">The options ask for several instances.</exception>
    public static SourceHarness<TOut> For<TOut>(Func<SourceRunnable<TOut>> factory, StageOptions? options = null) => new(factory, options);

    /// <summary>A harness for a runnable that is driven by ticks and commands alone.</summary>
    /// <param name="factory">Makes the runnable.</param>
    /// <param name="options">The settings of its stage.</param>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="ArgumentException">The options ask for several instances.</exception>
    public static CommandHarness For(Func<CommandRunnable> factory, StageOptions? options = null) => new(factory, options);

    /// <summary>A harness for a runnable with several inputs and outputs; name them all by <c>WithInput</c> and <c>WithOutput</c> before the start.</summary>
    /// <typeparam name="TRunnable">The runnable.</typeparam>
    /// <param name="factory">Makes the runnable.</param>
    /// <param name="options">The settings of its stage.</param>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="ArgumentException">The options ask for several instances.</exception>
    public static PortHarness<TRunnable> For<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] TRunnable>(Func<TRunnable> factory, StageOptions? options = null)
        where TRunnable : PortRunnable => new(factory, options);

    /// <summary>Makes the runnable and starts it; returns when it waits for its first item.</summary>
    /// <exception cref="StageFaultedException">The factory or <c>OnStartAsync</c> threw.</exception>
    /// <exception cref="InvalidOperationException">The harness was started before.</exception>
    public async Task StartAsync()
    {
        if (_run is not null)
            throw new InvalidOperationException("The harness was started before: it runs one runnable once. Make a new one.");
        Pipeline pipeline = Describe().Build(new PipelineOptions
        {
            Name = "harness",
            TimeProvider = Time,
            LoggerFactory = Log,
            StallTimeout = Timeout.InfiniteTimeSpan,
        });
        _run = pipeline.Start(CancellationToken.None);
        _node = _run.Graph.Nodes.Single(n => n.Name == Options.Name);
        _run.Graph.OnActivity = NoteActivity;
        await Patience.WaitAsync(_run.Started, DescribeWait).ConfigureAwait(false);
        if (RestsAfterStart)
            await RestAsync().ConfigureAwait(false);
    }

    /// <summary>Moves the clock and returns when everything that became due has run: each tick at its own time, and each retry.</summary>
    /// <param name="by">How far.</param>
    /// <remarks>While a handler is in the middle of an item the clock makes one jump, and the call does not wait.</remarks>
    /// <exception cref="StageFaultedException">A tick or a retry faulted the stage.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="by"/> is negative.</exception>
    public async Task AdvanceAsync(TimeSpan by)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(by, TimeSpan.Zero);
        if (IsInTheMiddle())
        {
            Time.Advance(by);
            return;
        }

        // What a jump of the clock has made due before.
        await RestAsync().ConfigureAwait(false);
        while (by > TimeSpan.Zero)
        {
            TimeSpan step = UntilDue() is { } due && due > TimeSpan.Zero && due < by ? due : by;
            Time.Advance(step);
            by -= step;
            await RestAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Ends the input, or asks a runnable without one to end, and waits for the end.</summary>
    /// <returns>The report of the run.</returns>
    /// <exception cref="StageFaultedException">The runnable failed.</exception>
    public async Task<PipelineReport> CompleteAsync()
    {
        EndInput();
        await Patience.WaitAsync(Run.Report, DescribeWait).ConfigureAwait(false);
        return await Run.Completion.ConfigureAwait(false);
    }

    /// <summary>Cancels the run and waits for the end.</summary>
    /// <returns>The report of the run.</returns>
    public async Task<PipelineReport> CancelAsync()
    {
        Run.Cancel();
        await Patience.WaitAsync(Run.Report, DescribeWait).ConfigureAwait(false);
        return await Run.Report.ConfigureAwait(false);
    }

    /// <summary>Cancels the run if it has not ended. A handler that does not return is left behind, as in production.</summary>
    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        if (_run is null)
            return;
        Task ending = _run.DisposeAsync().AsTask();
        await Task.WhenAny(ending, Task.Delay(TimeSpan.FromSeconds(5), TimeProvider.System)).ConfigureAwait(false);
        Time.Advance(TimeSpan.FromMinutes(1));
        await ending.ConfigureAwait(false);
    }

    /// <summary>Writes the pipeline around the runnable.</summary>
    private protected abstract PipelineEnd<NoInput> Describe();

    /// <summary>Whether a started runnable comes to rest by itself.</summary>
    private protected virtual bool RestsAfterStart => true;

    /// <summary>Lets no more items in.</summary>
    private protected virtual void EndInput() => Run.Complete();

    /// <summary>Whether the run has nothing to do before it is given an item or more time.</summary>
    private protected virtual bool IsAtRest() => Run.Graph.Nodes.Where(n => !n.IsSource || n == Node).All(IsAtRest);

    /// <summary>Whether a handler works on an item, so that the run may not come to rest before it is given more time.</summary>
    private protected virtual bool IsInTheMiddle() => Node.Activity != StageActivity.WaitingForRetry && Array.Exists(Node.Inputs, static i => i.SlotsHeld > 0);

    /// <summary>Waits until the run has nothing to do, and throws what faulted it.</summary>
    private protected async Task RestAsync()
    {
        while (true)
        {
            // First ask, then look: a change in between is not missed.
            Task activity = Volatile.Read(ref _activity).Task;
            if (IsAtRest())
                break;
            await Patience.WaitAsync(activity, DescribeWait).ConfigureAwait(false);
        }

        if (Run.State is RunState.Faulting or RunState.Faulted)
        {
            await Patience.WaitAsync(Run.Report, DescribeWait).ConfigureAwait(false);
            await Run.Completion.ConfigureAwait(false);
        }
    }

    /// <summary>Remembers what the factory makes.</summary>
    private protected Func<TRunnable> Remember<TRunnable>(Func<TRunnable> factory)
        where TRunnable : Runnable => () =>
        {
            TRunnable runnable = factory();
            Made = runnable;
            return runnable;
        };

    private protected string DescribeWait() => $"The runnable is in the middle of something:{Environment.NewLine}{Run.Snapshot()}";

    // The order of the looks matters: a stage that has taken a signal or settled an item shows itself as working before it shows that.
    private bool IsAtRest(StageNode node) =>
        node.Activity == StageActivity.Ended
        || (!node.NeedsAttention
            && (Array.TrueForAll(node.Inputs, static i => i.SlotsHeld == 0)
                ? node.Activity == StageActivity.WaitingForInput
                : node.Activity == StageActivity.WaitingForRetry && node.RetryDue > Time.GetUtcNow()));

    private TimeSpan? UntilDue()
    {
        TimeSpan? tick = Made?.StartedContext?.Ticks.UntilNext;
        TimeSpan? retry = Node.Activity == StageActivity.WaitingForRetry ? Node.RetryDue - Time.GetUtcNow() : null;
        return tick is null || retry < tick ? retry : tick;
    }

    private void NoteActivity() =>
        Interlocked.Exchange(ref _activity, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
}
