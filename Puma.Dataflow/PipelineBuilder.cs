using System.Diagnostics.CodeAnalysis;
using System.Linq.Expressions;
using System.Runtime.CompilerServices;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>A pipeline under construction, open at its end. Each builder is continued once. Not safe for several threads at once.</summary>
/// <typeparam name="TIn">What the pipeline accepts; <see cref="NoInput"/> when it has a source of its own.</typeparam>
/// <typeparam name="T">The item type at this point.</typeparam>
public partial class PipelineBuilder<TIn, T>
{
    private string? _continuedBy;
    private StageDefinition? _exit;

    internal PipelineBuilder(StageDefinition stage, int port = 0)
    {
        Stage = stage;
        Port = port;
        while (stage.Outputs.Count <= port)
            stage.Outputs.Add(null);
    }

    internal StageDefinition Stage { get; }

    internal int Port { get; }

    /// <summary>The settings of the branch that starts here.</summary>
    internal virtual BranchSettings? Branch => null;

    /// <summary>Leads this builder's output to the next free input of a stage.</summary>
    internal void ConnectTo(StageDefinition next)
    {
        if (_continuedBy is not null)
            throw new InvalidOperationException($"The builder after '{Stage.Options.Name ?? Stage.Kind}' was already continued by a {_continuedBy} stage and cannot be continued by a {next.Kind} stage as well. Use Broadcast to lead items to several stages.");
        _continuedBy = next.Kind;
        Edge<T>.Connect(Stage, Port, next, Branch);
    }

    /// <summary>The stage from which foreign code takes what comes out here; each run of it is another.</summary>
    internal StageDefinition Exit()
    {
        if (_exit is null)
        {
            var exit = new StageDefinition("exit", StageOptions.Default, static setup => new ExitStage<T>(setup));
            ConnectTo(exit);
            _exit = exit;
        }

        return _exit;
    }

    internal PipelineBuilder<TIn, TOut> Continue<TOut>(StageDefinition next)
    {
        ConnectTo(next);
        return new PipelineBuilder<TIn, TOut>(next);
    }

    internal PipelineEnd<TIn> EndWith(StageDefinition next)
    {
        ConnectTo(next);
        return new PipelineEnd<TIn>(next);
    }

    private static StageDefinition Items<TOut>(string kind, StageOptions? options, Delegate? userCode, CodeMaker<ItemHandler<T, TOut>> maker, bool isOneToOne = false, bool isAsyncStream = false) =>
        ItemStages.Define(kind, options, new Recipe<ItemHandler<T, TOut>>(HostedItems<T, TOut>.Make, maker, userCode), isOneToOne: isOneToOne, isAsyncStream: isAsyncStream);

    /// <summary>Hands the items to a runnable that exists already. Such a pipeline runs once.</summary>
    /// <typeparam name="TOut">What the runnable emits.</typeparam>
    /// <param name="runnable">The runnable.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: what the runnable emits. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and <c>OnCompletedAsync</c> has returned. Faults: when a callback throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="runnable"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, TOut> Then<TOut>(Runnable<T, TOut> runnable, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(runnable);
        return Continue<TOut>(RunnableStages.Items<T, TOut>(options, runnable));
    }

    /// <summary>Hands the items to a runnable, which a factory makes anew for each run and instance.</summary>
    /// <typeparam name="TOut">What the runnable emits.</typeparam>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="Then{TOut}(Runnable{T, TOut}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, TOut> Then<TOut>(Func<Runnable<T, TOut>> factory, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return Continue<TOut>(RunnableStages.Items(options, factory));
    }

    /// <summary>Hands the items to a runnable, which a factory makes anew from an options value for each run and instance.</summary>
    /// <typeparam name="TOptions">The type of the options: a value that is copied to where the runnable runs.</typeparam>
    /// <typeparam name="TOut">What the runnable emits.</typeparam>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="runnableOptions">What the factory is given.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="Then{TOut}(Runnable{T, TOut}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, TOut> Then<TOptions, TOut>(Func<TOptions, Runnable<T, TOut>> factory, TOptions runnableOptions, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return Continue<TOut>(RunnableStages.Items(options, factory, runnableOptions));
    }

    /// <summary>Makes the next stage hand all items of a key to the same instance.</summary>
    /// <typeparam name="TKey">The key type.</typeparam>
    /// <param name="key">Finds the key of an item. When it throws, the item fails and the stage's error policy decides, without a retry. With one instance there is nothing to decide, and it need not be called.</param>
    /// <param name="comparer">Compares keys; default the type's own comparison.</param>
    /// <exception cref="ArgumentNullException"><paramref name="key"/> is null.</exception>
    public PartitionBuilder<TIn, T> PartitionBy<TKey>(Func<T, TKey> key, IEqualityComparer<TKey>? comparer = null)
    {
        ArgumentNullException.ThrowIfNull(key);
        IEqualityComparer<TKey> equality = comparer ?? EqualityComparer<TKey>.Default;
        return new PartitionBuilder<TIn, T>(this, item => key(item) is { } k ? equality.GetHashCode(k) : 0);
    }

    /// <summary>Hands the items to a runnable with several inputs and outputs, through one of its inputs.</summary>
    /// <typeparam name="TRunnable">The runnable.</typeparam>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="input">Names the input, for example <c>r =&gt; r.Frames</c>.</param>
    /// <param name="options">The settings of the stage; the capacity is that of each input.</param>
    /// <remarks>
    /// Emits: what the runnable emits at each output. Waits: while the stage behind the output has no slot.
    /// Completes: when all inputs have ended and <c>OnCompletedAsync</c> has returned. Faults: when a callback throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">An argument is null.</exception>
    /// <exception cref="ArgumentException"><paramref name="input"/> does not name a property.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PortBuilder<TIn, TRunnable> Into<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] TRunnable>(
        Func<TRunnable> factory, Expression<Func<TRunnable, Input<T>>> input, StageOptions? options = null)
        where TRunnable : PortRunnable
    {
        ArgumentNullException.ThrowIfNull(factory);
        ArgumentNullException.ThrowIfNull(input);
        return Connect(PortBuilder<TIn, TRunnable>.Of(factory, options), input);
    }

    /// <summary>Hands the items to a runnable with several inputs and outputs, which a factory makes from a value, through one of its inputs.</summary>
    /// <typeparam name="TOptions">The value's type; for a stage in a child process it must be one that can travel.</typeparam>
    /// <typeparam name="TRunnable">The runnable.</typeparam>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="runnableOptions">What it is made from.</param>
    /// <param name="input">Names the input, for example <c>r =&gt; r.Frames</c>.</param>
    /// <param name="options">The settings of the stage; the capacity is that of each input.</param>
    /// <inheritdoc cref="Into{TRunnable}(Func{TRunnable}, Expression{Func{TRunnable, Input{T}}}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException">An argument other than <paramref name="runnableOptions"/> is null.</exception>
    /// <exception cref="ArgumentException"><paramref name="input"/> does not name a property.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PortBuilder<TIn, TRunnable> Into<TOptions, [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] TRunnable>(
        Func<TOptions, TRunnable> factory, TOptions runnableOptions, Expression<Func<TRunnable, Input<T>>> input, StageOptions? options = null)
        where TRunnable : PortRunnable
    {
        ArgumentNullException.ThrowIfNull(factory);
        ArgumentNullException.ThrowIfNull(input);
        return Connect(PortBuilder<TIn, TRunnable>.Of(factory, runnableOptions, options), input);
    }

    private PortBuilder<TIn, TRunnable> Connect<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] TRunnable>(PortBuilder<TIn, TRunnable> ports, Expression<Func<TRunnable, Input<T>>> input)
        where TRunnable : PortRunnable
    {
        ports.Connect(this, input);
        return ports;
    }

    /// <summary>Hands the items to a foreign block and goes on with what it offers. Such a pipeline runs once.</summary>
    /// <typeparam name="TOut">What the block offers.</typeparam>
    /// <param name="block">The block; it is completed, or faulted, when the items have ended.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: what the block offers. Waits: while the block postpones, and while the next stage has no slot.
    /// Completes: when the block's <c>Completion</c> has. Faults: when the block does.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="block"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, TOut> Through<TOut>(IPropagatorBlock<T, TOut> block, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(block);
        return Continue<TOut>(new StageDefinition("through", options ?? StageOptions.Default, setup => new ForeignStage<T, TOut>(setup, () => block)) { SingleUse = block });
    }

    /// <summary>Hands the items to a foreign block, which a factory makes anew for each run, and goes on with what it offers.</summary>
    /// <typeparam name="TOut">What the block offers.</typeparam>
    /// <param name="factory">Makes the block; it is completed, or faulted, when the items have ended.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="Through{TOut}(IPropagatorBlock{T, TOut}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, TOut> Through<TOut>(Func<IPropagatorBlock<T, TOut>> factory, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        var recipe = new Recipe<IPropagatorBlock<T, TOut>>(HostedBlock<T, TOut>.Make, static (code, _) => ((Func<IPropagatorBlock<T, TOut>>)code!)(), factory) { HasState = true };
        return Continue<TOut>(new StageDefinition("through", options ?? StageOptions.Default, setup => setup.Options.Placement is InProcessPlacement
            ? new ForeignStage<T, TOut>(setup, recipe.Make)
            : new ChildStage(setup, new ChildPlan(recipe, [static (stage, link, codecs) => new ChildInput<T>(stage, (Link<T>)link, codecs, keyHash: null)], [static (stage, link, codecs) => new ChildOutput<TOut>(stage, (Link<TOut>)link, codecs)], IsForeign: true)))
        {
            Recipe = recipe,
            CarriedItems = [typeof(T)],
            CarriedResults = [typeof(TOut)],
        });
    }

    /// <summary>Hands the items to a part that was described before; its stages become stages of this pipeline.</summary>
    /// <typeparam name="TOut">What the part emits.</typeparam>
    /// <param name="part">The part; it may be used any number of times.</param>
    /// <param name="name">Goes before the names of the part's stages, as <c>name/stage</c>; needed when a part with named stages is used twice.</param>
    /// <exception cref="ArgumentNullException"><paramref name="part"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, TOut> Through<TOut>(PipelinePart<T, TOut> part, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(part);
        return part.ContinueFrom(this, name);
    }

    /// <summary>Gathers items into arrays.</summary>
    /// <param name="count">How many items make a batch, or how much weight; at least 1.</param>
    /// <param name="maxAge">A batch leaves when its first item has waited for so long; default as long as it takes.</param>
    /// <param name="weight">The weight of an item, not negative; default 1 each. No batch weighs more than <paramref name="count"/>, but for a single item that does.</param>
    /// <param name="options">The settings of the stage; the capacity must hold a batch.</param>
    /// <remarks>
    /// Emits: an array when it is full, old enough, or the input has ended. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and the last, partial array was accepted. Faults: when <paramref name="weight"/> throws.
    /// </remarks>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is below 1, or <paramref name="maxAge"/> is not positive or too long for a timer.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, T[]> Batch(int count, TimeSpan? maxAge = null, Func<T, long>? weight = null, StageOptions? options = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        if (maxAge is { } age)
        {
            ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(age, TimeSpan.Zero, nameof(maxAge));
            ArgumentOutOfRangeException.ThrowIfGreaterThan(age, TimeLimits.Longest, nameof(maxAge));
        }

        return Continue<T[]>(new StageDefinition("batch", options ?? StageOptions.Default, setup => new BatchStage<T>(setup, count, maxAge, weight))
        {
            LeastCapacity = weight is null ? count : 1,
        });
    }

    /// <summary>Passes on the first items and ends.</summary>
    /// <param name="count">How many; not negative.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: the first items. Waits: while the next stage has no slot.
    /// Completes: when it has passed on <paramref name="count"/> items, or the input has ended; the stages before it end for lack of demand. Faults: never by itself.
    /// </remarks>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is negative.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, T> Take(long count, StageOptions? options = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        return Continue<T>(new StageDefinition("take", options ?? StageOptions.Default, setup => new TakeStage<T>(setup, count)));
    }

    /// <summary>Goes on with the items of this and of other pipelines, one of each in turn.</summary>
    /// <param name="others">The other pipelines.</param>
    /// <remarks>
    /// Emits: every item. Waits: while the next stage has no slot.
    /// Completes: when all inputs have ended, or by option the first. Faults: never by itself.
    /// </remarks>
    /// <exception cref="ArgumentNullException">One of the others is null.</exception>
    /// <exception cref="InvalidOperationException">One of the builders was continued before.</exception>
    public PipelineBuilder<TIn, T> Merge(params ReadOnlySpan<PipelineBuilder<NoInput, T>> others) => Merge(StageOptions.Default, others);

    /// <summary>Goes on with the items of this and of other pipelines, one of each in turn.</summary>
    /// <param name="options">The settings of the stage, for example <see cref="StageOptions.FanIn"/>; the capacity is that of each input.</param>
    /// <param name="others">The other pipelines.</param>
    /// <inheritdoc cref="Merge(ReadOnlySpan{PipelineBuilder{NoInput, T}})" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="options"/> or one of the others is null.</exception>
    /// <exception cref="InvalidOperationException">One of the builders was continued before.</exception>
    [OverloadResolutionPriority(1)]
    public PipelineBuilder<TIn, T> Merge(StageOptions options, params ReadOnlySpan<PipelineBuilder<NoInput, T>> others)
    {
        ArgumentNullException.ThrowIfNull(options);
        foreach (PipelineBuilder<NoInput, T> other in others)
            ArgumentNullException.ThrowIfNull(other, nameof(others));
        var merge = new StageDefinition("merge", options, static setup => new MergeStage<T>(setup));
        ConnectTo(merge);
        foreach (PipelineBuilder<NoInput, T> other in others)
            other.ConnectTo(merge);

        return new PipelineBuilder<TIn, T>(merge);
    }

    /// <summary>Leads every item to every branch. More branches can be attached while the pipeline runs (<see cref="PipelineRun.Broadcast{T}"/>).</summary>
    /// <param name="branches">Each continues its parameter to an end. There may be none: the items then wait for the first branch that is attached.</param>
    /// <remarks>
    /// Emits: every item, to every live branch. Waits: while any branch has no slot, unless its <c>WhenFull</c> says otherwise; while there
    /// is no branch, as <see cref="StageOptions.NoBranches"/> says.
    /// Completes: when the input has ended; also when no branch is left, as <see cref="StageOptions.NoBranches"/> says. Faults: when a branch with <see cref="FullMode.Fail"/> is full.
    /// </remarks>
    /// <exception cref="ArgumentException">A branch is null or does not continue its parameter to an end.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> Broadcast(params ReadOnlySpan<Func<BranchBuilder<T>, PipelineEnd<BranchInput>>> branches) =>
        Broadcast(StageOptions.Default, branches);

    /// <summary>Leads every item to every branch. More branches can be attached while the pipeline runs (<see cref="PipelineRun.Broadcast{T}"/>).</summary>
    /// <param name="options">The settings of the stage; also <see cref="StageOptions.NoBranches"/>.</param>
    /// <param name="branches">Each continues its parameter to an end. There may be none: the items then wait for the first branch that is attached.</param>
    /// <inheritdoc cref="Broadcast(ReadOnlySpan{Func{BranchBuilder{T}, PipelineEnd{BranchInput}}})" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="options"/> is null.</exception>
    /// <exception cref="ArgumentException">A branch is null or does not continue its parameter to an end.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(1)]
    public PipelineEnd<TIn> Broadcast(StageOptions options, params ReadOnlySpan<Func<BranchBuilder<T>, PipelineEnd<BranchInput>>> branches)
    {
        ArgumentNullException.ThrowIfNull(options);
        var broadcast = new StageDefinition("broadcast", options, static setup => new BroadcastStage<T>(setup)) { IsOneToOne = true, IsBroadcast = true };
        ConnectTo(broadcast);
        for (int i = 0; i < branches.Length; i++)
            BranchBuilder<T>.Write(broadcast, i, branches[i]);
        return new PipelineEnd<TIn>(broadcast);
    }

    /// <summary>Leads each item to the first branch whose predicate holds. Finish with <c>Otherwise</c>.</summary>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item, to one branch. Waits: while that branch has no slot.
    /// Completes: when the input has ended, or no branch is left. Faults: when a predicate throws.
    /// </remarks>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public RouteBuilder<TIn, T> Route(StageOptions? options = null)
    {
        List<Func<T, bool>> predicates = [];
        var route = new StageDefinition("route", options ?? StageOptions.Default, setup => new RouteStage<T>(setup, predicates))
        {
            Unfinished = "the route has no Otherwise. Say what happens to an item that no predicate takes.",
        };
        ConnectTo(route);
        return new RouteBuilder<TIn, T>(route, predicates);
    }
}
