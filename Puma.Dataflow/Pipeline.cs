using System.Runtime.CompilerServices;
using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>
/// The immutable description of a pipeline, made by <c>Build()</c>; <see cref="Start"/> makes a run of it. Its static members are where a
/// pipeline begins. Safe for any thread.
/// </summary>
public class Pipeline
{
    internal Pipeline(PipelinePlan plan) => Plan = plan;

    internal PipelinePlan Plan { get; }

    /// <summary>Shapes that may get stuck, though they need not; also logged at each start.</summary>
    public IReadOnlyList<string> Warnings => Plan.Warnings;

    /// <summary>Starts a run.</summary>
    /// <param name="cancellationToken">Cancels the run at any time.</param>
    /// <exception cref="InvalidOperationException">The pipeline holds an instance, or a dead-letter target that a run completes, and has run before, as this description or as another that was made of the same stages.</exception>
    public virtual PipelineRun Start(CancellationToken cancellationToken = default) => new(Plan.Start(cancellationToken));

    /// <summary>The stages and links as a flowchart in the language of Mermaid: what each stage is, how many instances it has and where they live, and of each link its capacity, its full mode and whether its branch is optional. Dead-letter links are dashed.</summary>
    public string ToMermaid() => MermaidText.Of(Plan.Draw());

    /// <summary>The same picture as <see cref="ToMermaid"/> in the language of Graphviz.</summary>
    public string ToDot() => DotText.Of(Plan.Draw());

    /// <summary>Begins with the items of an asynchronous sequence, enumerated anew for each run.</summary>
    /// <typeparam name="T">The item type.</typeparam>
    /// <param name="source">The sequence; its token fires when the run takes no more input.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item as it comes. Waits: while the next stage has no slot.
    /// Completes: when the sequence has ended, or the run takes no more input. Faults: when the sequence throws.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="source"/> is null.</exception>
    [OverloadResolutionPriority(1)]
    public static PipelineBuilder<NoInput, T> From<T>(IAsyncEnumerable<T> source, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        return Source("from", options, () => new AsyncEnumerableBody<T>(source));
    }

    /// <summary>Begins with the items of a sequence, enumerated anew for each run.</summary>
    /// <typeparam name="T">The item type.</typeparam>
    /// <param name="source">The sequence; read no further when the run takes no more input.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="From{T}(IAsyncEnumerable{T}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="source"/> is null.</exception>
    public static PipelineBuilder<NoInput, T> From<T>(IEnumerable<T> source, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        return Source("from", options, () => new EnumerableBody<T>(source));
    }

    /// <summary>Begins with what a foreign block offers. Such a pipeline runs once.</summary>
    /// <typeparam name="T">The item type.</typeparam>
    /// <param name="source">The block; unlinked when the run takes no more input.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item that the block offers. Waits: while the next stage has no slot; the block's messages are postponed.
    /// Completes: when the block has, or the run takes no more input. Faults: when the block faults or is cancelled.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="source"/> is null.</exception>
    public static PipelineBuilder<NoInput, T> From<T>(ISourceBlock<T> source, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        return new PipelineBuilder<NoInput, T>(new StageDefinition("from", options ?? StageOptions.Default, setup => new ForeignSourceStage<T>(setup, source)) { IsSource = true, SingleUse = source });
    }

    /// <summary>Begins with the items of a channel; what is not read stays in it.</summary>
    /// <typeparam name="T">The item type.</typeparam>
    /// <param name="source">The channel's reader.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item as it comes. Waits: while the next stage has no slot.
    /// Completes: when the channel has, or the run takes no more input. Faults: when the channel was completed with an exception.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="source"/> is null.</exception>
    public static PipelineBuilder<NoInput, T> From<T>(ChannelReader<T> source, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        return Source("from", options, () => new ChannelBody<T>(source));
    }

    /// <summary>Begins with a runnable that exists already. Such a pipeline runs once.</summary>
    /// <typeparam name="T">What the runnable emits.</typeparam>
    /// <param name="source">The runnable.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: what the runnable emits. Waits: while the next stage has no slot.
    /// Completes: when its body has returned. Faults: when a callback throws.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="source"/> is null.</exception>
    public static PipelineBuilder<NoInput, T> From<T>(SourceRunnable<T> source, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        return new PipelineBuilder<NoInput, T>(RunnableStages.Source(options, source));
    }

    /// <summary>Begins with a runnable, which a factory makes anew for each run.</summary>
    /// <typeparam name="T">What the runnable emits.</typeparam>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="From{T}(SourceRunnable{T}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    public static PipelineBuilder<NoInput, T> From<T>(Func<SourceRunnable<T>> factory, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return new PipelineBuilder<NoInput, T>(RunnableStages.Source(options, factory));
    }

    /// <summary>Begins with a runnable, which a factory makes anew from an options value for each run.</summary>
    /// <typeparam name="TOptions">The type of the options: a value that is copied to where the runnable runs.</typeparam>
    /// <typeparam name="T">What the runnable emits.</typeparam>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="runnableOptions">What the factory is given.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="From{T}(SourceRunnable{T}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    public static PipelineBuilder<NoInput, T> From<TOptions, T>(Func<TOptions, SourceRunnable<T>> factory, TOptions runnableOptions, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return new PipelineBuilder<NoInput, T>(RunnableStages.Source(options, factory, runnableOptions));
    }

    /// <summary>Begins with an entry, to which callers and foreign blocks send items.</summary>
    /// <typeparam name="TIn">The item type.</typeparam>
    /// <param name="options">The settings of the entry: also <see cref="StageOptions.FullMode"/>, <see cref="StageOptions.SendTimeout"/> and <see cref="StageOptions.CompleteWithLastSender"/>.</param>
    /// <remarks>
    /// Emits: each item that is sent. Waits: the senders do, while the first stage has no slot.
    /// Completes: by <c>Complete()</c>. Faults: by <c>Fault</c> on its block.
    /// </remarks>
    public static PipelineBuilder<TIn, TIn> Accept<TIn>(StageOptions? options = null) =>
        new(new StageDefinition("entry", options ?? StageOptions.Default, static setup => new EntryStage<TIn>(setup)) { IsEntry = true, IsSource = true, IsOneToOne = true });

    /// <summary>A pipeline of one runnable that has no items, which a factory makes anew for each run.</summary>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: for ticks and commands.
    /// Completes: by <c>Complete()</c> on the run or its context. Faults: when a callback throws.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    public static PipelineEnd<NoInput> Of(Func<CommandRunnable> factory, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return new PipelineEnd<NoInput>(RunnableStages.Command(options, factory));
    }

    /// <summary>A pipeline of one runnable that has no items, which a factory makes anew for each run from a value.</summary>
    /// <typeparam name="TOptions">The value's type; for a stage in a child process it must be one that can travel.</typeparam>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="runnableOptions">What it is made from.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="Of(Func{CommandRunnable}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    public static PipelineEnd<NoInput> Of<TOptions>(Func<TOptions, CommandRunnable> factory, TOptions runnableOptions, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return new PipelineEnd<NoInput>(RunnableStages.Command(options, factory, runnableOptions));
    }

    /// <summary>Goes on with the items of several pipelines, one of each in turn.</summary>
    /// <typeparam name="TIn">What the first one accepts.</typeparam>
    /// <typeparam name="T">The item type.</typeparam>
    /// <param name="first">The first pipeline; only it may have an entry.</param>
    /// <param name="others">The other pipelines.</param>
    /// <inheritdoc cref="PipelineBuilder{TIn, T}.Merge(ReadOnlySpan{PipelineBuilder{NoInput, T}})" path="/remarks"/>
    /// <exception cref="ArgumentNullException">One of the pipelines is null.</exception>
    /// <exception cref="InvalidOperationException">One of the builders was continued before.</exception>
    public static PipelineBuilder<TIn, T> Merge<TIn, T>(PipelineBuilder<TIn, T> first, params ReadOnlySpan<PipelineBuilder<NoInput, T>> others)
    {
        ArgumentNullException.ThrowIfNull(first);
        return first.Merge(others);
    }

    /// <summary>Pairs the items of two pipelines in order.</summary>
    /// <typeparam name="TIn">What the first one accepts.</typeparam>
    /// <typeparam name="T1">The first item type.</typeparam>
    /// <typeparam name="T2">The second item type.</typeparam>
    /// <param name="first">The first pipeline.</param>
    /// <param name="second">The second pipeline.</param>
    /// <param name="options">The settings of the stage; the capacity is that of each input.</param>
    /// <remarks>
    /// Emits: a pair when both inputs have an item. Waits: for the partner of an item, and while the next stage has no slot.
    /// Completes: when both inputs have ended; what found no partner is discarded and counted. Faults: never by itself.
    /// </remarks>
    /// <exception cref="ArgumentNullException">One of the pipelines is null.</exception>
    /// <exception cref="InvalidOperationException">One of the builders was continued before.</exception>
    public static PipelineBuilder<TIn, (T1 First, T2 Second)> Join<TIn, T1, T2>(PipelineBuilder<TIn, T1> first, PipelineBuilder<NoInput, T2> second, StageOptions? options = null) =>
        JoinAny<TIn, TIn, NoInput, T1, T2>(first, second, options);

    /// <summary>Pairs the items of two pipelines in order.</summary>
    /// <typeparam name="TIn">What the second one accepts.</typeparam>
    /// <typeparam name="T1">The first item type.</typeparam>
    /// <typeparam name="T2">The second item type.</typeparam>
    /// <param name="first">The first pipeline.</param>
    /// <param name="second">The second pipeline.</param>
    /// <param name="options">The settings of the stage; the capacity is that of each input.</param>
    /// <inheritdoc cref="Join{TIn, T1, T2}(PipelineBuilder{TIn, T1}, PipelineBuilder{NoInput, T2}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException">One of the pipelines is null.</exception>
    /// <exception cref="InvalidOperationException">One of the builders was continued before.</exception>
    [OverloadResolutionPriority(-1)]
    public static PipelineBuilder<TIn, (T1 First, T2 Second)> Join<TIn, T1, T2>(PipelineBuilder<NoInput, T1> first, PipelineBuilder<TIn, T2> second, StageOptions? options = null) =>
        JoinAny<TIn, NoInput, TIn, T1, T2>(first, second, options);

    private static PipelineBuilder<TIn, (T1 First, T2 Second)> JoinAny<TIn, TIn1, TIn2, T1, T2>(PipelineBuilder<TIn1, T1> first, PipelineBuilder<TIn2, T2> second, StageOptions? options)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        var join = new StageDefinition("join", options ?? StageOptions.Default, static setup => new JoinStage<T1, T2>(setup)) { IsOneToOne = true };
        first.ConnectTo(join);
        second.ConnectTo(join);
        return new PipelineBuilder<TIn, (T1 First, T2 Second)>(join);
    }

    private static PipelineBuilder<NoInput, T> Source<T>(string kind, StageOptions? options, Func<SourceBody<T>> makeBody) =>
        new(ItemStages.DefineSource(kind, options, new Recipe<SourceBody<T>>(HostedSource<T>.Make, (_, _) => makeBody(), null) { LocalOnly = "it reads an object of this process. To read elsewhere, use a source runnable with a static factory." }));
}

/// <summary>The immutable description of a pipeline to which items are sent.</summary>
/// <typeparam name="TIn">What it accepts.</typeparam>
public sealed class Pipeline<TIn> : Pipeline
{
    internal Pipeline(PipelinePlan plan) : base(plan) { }

    /// <inheritdoc/>
    public override PipelineRun<TIn> Start(CancellationToken cancellationToken = default) => new(Plan.Start(cancellationToken));
}
