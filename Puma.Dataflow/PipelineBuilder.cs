using System.Diagnostics.CodeAnalysis;
using System.Linq.Expressions;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>A pipeline under construction, open at its end. Each builder is continued once. Not safe for several threads at once.</summary>
/// <typeparam name="TIn">What the pipeline accepts; <see cref="NoInput"/> when it has a source of its own.</typeparam>
/// <typeparam name="T">The item type at this point.</typeparam>
public class PipelineBuilder<TIn, T>
{
    /// <summary>For stages without user code, which have nothing to gain elsewhere.</summary>
    private static readonly StageOptions InThisProcess = new() { Placement = Placement.InProcess };

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

    private PipelineBuilder<TIn, TOut> AddTransform<TOut>(StageOptions? options, Delegate transform, CodeMaker<ItemHandler<T, TOut>> maker) =>
        Continue<TOut>(Items("transform", options, transform, maker, isOneToOne: true));

    private PipelineBuilder<TIn, T> AddWhere(StageOptions? options, Delegate predicate, CodeMaker<ItemHandler<T, T>> maker) =>
        Continue<T>(Items("where", options, predicate, maker));

    private PipelineBuilder<TIn, T> AddTap(StageOptions? options, Delegate action, CodeMaker<ItemHandler<T, T>> maker)
    {
        StageDefinition stage = Items("tap", options, action, maker, isOneToOne: true);
        DroppedResults.Check(action, stage.Problems);
        return Continue<T>(stage);
    }

    private PipelineEnd<TIn> AddForEach(StageOptions? options, Delegate action, CodeMaker<ItemHandler<T, NoOutput>> maker)
    {
        StageDefinition stage = Items("for-each", options, action, maker);
        DroppedResults.Check(action, stage.Problems);
        return EndWith(stage);
    }

    /// <summary>Makes one output of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: one output for each item, when the delegate has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(8)]
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, CancellationToken, ValueTask<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return AddTransform(options, transform, static (code, _) => new AsyncTransformHandler<T, TOut>((Func<T, CancellationToken, ValueTask<TOut>>)code!));
    }

    /// <summary>Makes one output of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: one output for each item, when the delegate has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(7)]
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, CancellationToken, Task<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return AddTransform(options, transform, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, Task<TOut>>)code!;
            return new AsyncTransformHandler<T, TOut>((item, token) => new ValueTask<TOut>(user(item, token)));
        });
    }

    /// <summary>Makes one output of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: one output for each item, when the delegate has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(6)]
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, ValueTask<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return AddTransform(options, transform, static (code, _) =>
        {
            var user = (Func<T, ValueTask<TOut>>)code!;
            return new AsyncTransformHandler<T, TOut>((item, _) => user(item));
        });
    }

    /// <summary>Makes one output of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: one output for each item, when the delegate has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(5)]
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, Task<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return AddTransform(options, transform, static (code, _) =>
        {
            var user = (Func<T, Task<TOut>>)code!;
            return new AsyncTransformHandler<T, TOut>((item, _) => new ValueTask<TOut>(user(item)));
        });
    }

    /// <summary>Makes one output of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: one output for each item, when the delegate has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(-1)]
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, CancellationToken, TOut> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Continue<TOut>(Items("transform", options, transform, static (code, _) => new TransformHandler<T, TOut>((Func<T, CancellationToken, TOut>)code!), isOneToOne: true));
    }

    /// <summary>Makes one output of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: one output for each item, when the delegate has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, TOut> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Continue<TOut>(Items("transform", options, transform, static (code, _) =>
        {
            var user = (Func<T, TOut>)code!;
            return new TransformHandler<T, TOut>((item, _) => user(item));
        }, isOneToOne: true));
    }

    /// <summary>Refused at compile time: a transform returns a value.</summary>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    [OverloadResolutionPriority(4)]
    [Obsolete("A transform returns a value: use Tap or ForEach.", error: true)]
    public PipelineBuilder<TIn, T> Transform(Func<T, CancellationToken, ValueTask> transform, StageOptions? options = null) => throw new NotSupportedException("A transform returns a value: use Tap or ForEach.");

    /// <summary>Refused at compile time: a transform returns a value.</summary>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    [OverloadResolutionPriority(3)]
    [Obsolete("A transform returns a value: use Tap or ForEach.", error: true)]
    public PipelineBuilder<TIn, T> Transform(Func<T, CancellationToken, Task> transform, StageOptions? options = null) => throw new NotSupportedException("A transform returns a value: use Tap or ForEach.");

    /// <summary>Refused at compile time: a transform returns a value.</summary>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    [OverloadResolutionPriority(2)]
    [Obsolete("A transform returns a value: use Tap or ForEach.", error: true)]
    public PipelineBuilder<TIn, T> Transform(Func<T, ValueTask> transform, StageOptions? options = null) => throw new NotSupportedException("A transform returns a value: use Tap or ForEach.");

    /// <summary>Refused at compile time: a transform returns a value.</summary>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    [OverloadResolutionPriority(1)]
    [Obsolete("A transform returns a value: use Tap or ForEach.", error: true)]
    public PipelineBuilder<TIn, T> Transform(Func<T, Task> transform, StageOptions? options = null) => throw new NotSupportedException("A transform returns a value: use Tap or ForEach.");

    /// <summary>Makes any number of outputs of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: every value of the returned sequence, as it comes. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate or its sequence throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(3)]
    public PipelineBuilder<TIn, TOut> TransformMany<TOut>(Func<T, CancellationToken, IAsyncEnumerable<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Continue<TOut>(Items("transform-many", options, transform, static (code, _) => new AsyncManyHandler<T, TOut>((Func<T, CancellationToken, IAsyncEnumerable<TOut>>)code!), isAsyncStream: true));
    }

    /// <summary>Makes any number of outputs of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: every value of the returned sequence, as it comes. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate or its sequence throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(2)]
    public PipelineBuilder<TIn, TOut> TransformMany<TOut>(Func<T, IAsyncEnumerable<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Continue<TOut>(Items("transform-many", options, transform, static (code, _) =>
        {
            var user = (Func<T, IAsyncEnumerable<TOut>>)code!;
            return new AsyncManyHandler<T, TOut>((item, _) => user(item));
        }, isAsyncStream: true));
    }

    /// <summary>Makes any number of outputs of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: every value of the returned sequence, as it comes. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate or its sequence throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(-1)]
    public PipelineBuilder<TIn, TOut> TransformMany<TOut>(Func<T, CancellationToken, IEnumerable<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Continue<TOut>(Items("transform-many", options, transform, static (code, _) => new ManyHandler<T, TOut>((Func<T, CancellationToken, IEnumerable<TOut>>)code!)));
    }

    /// <summary>Makes any number of outputs of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: every value of the returned sequence, as it comes. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate or its sequence throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, TOut> TransformMany<TOut>(Func<T, IEnumerable<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Continue<TOut>(Items("transform-many", options, transform, static (code, _) =>
        {
            var user = (Func<T, IEnumerable<TOut>>)code!;
            return new ManyHandler<T, TOut>((item, _) => user(item));
        }));
    }

    /// <summary>Passes on the items for which a predicate holds.</summary>
    /// <param name="predicate">The predicate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: the items for which the predicate holds. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every passed item was accepted. Faults: when the predicate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(4)]
    public PipelineBuilder<TIn, T> Where(Func<T, CancellationToken, ValueTask<bool>> predicate, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        return AddWhere(options, predicate, static (code, _) => new WhereHandler<T>((Func<T, CancellationToken, ValueTask<bool>>)code!));
    }

    /// <summary>Passes on the items for which a predicate holds.</summary>
    /// <param name="predicate">The predicate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: the items for which the predicate holds. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every passed item was accepted. Faults: when the predicate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(3)]
    public PipelineBuilder<TIn, T> Where(Func<T, CancellationToken, Task<bool>> predicate, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        return AddWhere(options, predicate, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, Task<bool>>)code!;
            return new WhereHandler<T>((item, token) => new ValueTask<bool>(user(item, token)));
        });
    }

    /// <summary>Passes on the items for which a predicate holds.</summary>
    /// <param name="predicate">The predicate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: the items for which the predicate holds. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every passed item was accepted. Faults: when the predicate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(2)]
    public PipelineBuilder<TIn, T> Where(Func<T, ValueTask<bool>> predicate, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        return AddWhere(options, predicate, static (code, _) =>
        {
            var user = (Func<T, ValueTask<bool>>)code!;
            return new WhereHandler<T>((item, _) => user(item));
        });
    }

    /// <summary>Passes on the items for which a predicate holds.</summary>
    /// <param name="predicate">The predicate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: the items for which the predicate holds. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every passed item was accepted. Faults: when the predicate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(1)]
    public PipelineBuilder<TIn, T> Where(Func<T, Task<bool>> predicate, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        return AddWhere(options, predicate, static (code, _) =>
        {
            var user = (Func<T, Task<bool>>)code!;
            return new WhereHandler<T>((item, _) => new ValueTask<bool>(user(item)));
        });
    }

    /// <summary>Passes on the items for which a predicate holds.</summary>
    /// <param name="predicate">The predicate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: the items for which the predicate holds. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every passed item was accepted. Faults: when the predicate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, T> Where(Func<T, bool> predicate, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        return AddWhere(options, predicate, static (code, _) =>
        {
            var user = (Func<T, bool>)code!;
            return new WhereHandler<T>((item, _) => new ValueTask<bool>(user(item)));
        });
    }

    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(8)]
    public PipelineBuilder<TIn, T> Tap(Func<T, CancellationToken, ValueTask> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) => new TapHandler<T>((Func<T, CancellationToken, ValueTask>)code!));
    }

    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(7)]
    public PipelineBuilder<TIn, T> Tap(Func<T, CancellationToken, Task> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, Task>)code!;
            return new TapHandler<T>((item, token) => new ValueTask(user(item, token)));
        });
    }

    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(6)]
    public PipelineBuilder<TIn, T> Tap<TIgnored>(Func<T, CancellationToken, ValueTask<TIgnored>> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, ValueTask<TIgnored>>)code!;
            return new TapHandler<T>(async (item, token) => await user(item, token).ConfigureAwait(false));
        });
    }

    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(5)]
    public PipelineBuilder<TIn, T> Tap(Func<T, ValueTask> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, ValueTask>)code!;
            return new TapHandler<T>((item, _) => user(item));
        });
    }

    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(4)]
    public PipelineBuilder<TIn, T> Tap(Func<T, Task> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, Task>)code!;
            return new TapHandler<T>((item, _) => new ValueTask(user(item)));
        });
    }

    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(3)]
    public PipelineBuilder<TIn, T> Tap<TIgnored>(Func<T, ValueTask<TIgnored>> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, ValueTask<TIgnored>>)code!;
            return new TapHandler<T>(async (item, _) => await user(item).ConfigureAwait(false));
        });
    }

    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(2)]
    public PipelineBuilder<TIn, T> Tap<TIgnored>(Func<T, TIgnored> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, TIgnored>)code!;
            return new TapHandler<T>((item, token) =>
            {
                _ = user(item);
                return default;
            });
        });
    }

    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <typeparam name="TIgnored">What the delegate returns; it is dropped, so <c>Build()</c> refuses what ought to be awaited.</typeparam>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(1)]
    public PipelineBuilder<TIn, T> Tap<TIgnored>(Func<T, CancellationToken, TIgnored> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, TIgnored>)code!;
            return new TapHandler<T>((item, token) =>
            {
                _ = user(item, token);
                return default;
            });
        });
    }

    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(-1)]
    public PipelineBuilder<TIn, T> Tap(Action<T, CancellationToken> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Action<T, CancellationToken>)code!;
            return new TapHandler<T>((item, token) =>
            {
                user(item, token);
                return default;
            });
        });
    }

    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, T> Tap(Action<T> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Action<T>)code!;
            return new TapHandler<T>((item, token) =>
            {
                user(item);
                return default;
            });
        });
    }

    /// <summary>Consumes each item.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(8)]
    public PipelineEnd<TIn> ForEach(Func<T, CancellationToken, ValueTask> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) => new ForEachHandler<T>((Func<T, CancellationToken, ValueTask>)code!));
    }

    /// <summary>Consumes each item.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(7)]
    public PipelineEnd<TIn> ForEach(Func<T, CancellationToken, Task> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, Task>)code!;
            return new ForEachHandler<T>((item, token) => new ValueTask(user(item, token)));
        });
    }

    /// <summary>Consumes each item.</summary>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(6)]
    public PipelineEnd<TIn> ForEach<TIgnored>(Func<T, CancellationToken, ValueTask<TIgnored>> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, ValueTask<TIgnored>>)code!;
            return new ForEachHandler<T>(async (item, token) => await user(item, token).ConfigureAwait(false));
        });
    }

    /// <summary>Consumes each item.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(5)]
    public PipelineEnd<TIn> ForEach(Func<T, ValueTask> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, ValueTask>)code!;
            return new ForEachHandler<T>((item, _) => user(item));
        });
    }

    /// <summary>Consumes each item.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(4)]
    public PipelineEnd<TIn> ForEach(Func<T, Task> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, Task>)code!;
            return new ForEachHandler<T>((item, _) => new ValueTask(user(item)));
        });
    }

    /// <summary>Consumes each item.</summary>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(3)]
    public PipelineEnd<TIn> ForEach<TIgnored>(Func<T, ValueTask<TIgnored>> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, ValueTask<TIgnored>>)code!;
            return new ForEachHandler<T>(async (item, _) => await user(item).ConfigureAwait(false));
        });
    }

    /// <summary>Consumes each item.</summary>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(2)]
    public PipelineEnd<TIn> ForEach<TIgnored>(Func<T, TIgnored> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, TIgnored>)code!;
            return new ForEachHandler<T>((item, token) =>
            {
                _ = user(item);
                return default;
            });
        });
    }

    /// <summary>Consumes each item.</summary>
    /// <typeparam name="TIgnored">What the delegate returns; it is dropped, so <c>Build()</c> refuses what ought to be awaited.</typeparam>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(1)]
    public PipelineEnd<TIn> ForEach<TIgnored>(Func<T, CancellationToken, TIgnored> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, TIgnored>)code!;
            return new ForEachHandler<T>((item, token) =>
            {
                _ = user(item, token);
                return default;
            });
        });
    }

    /// <summary>Consumes each item.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(-1)]
    public PipelineEnd<TIn> ForEach(Action<T, CancellationToken> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Action<T, CancellationToken>)code!;
            return new ForEachHandler<T>((item, token) =>
            {
                user(item, token);
                return default;
            });
        });
    }

    /// <summary>Consumes each item.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> ForEach(Action<T> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Action<T>)code!;
            return new ForEachHandler<T>((item, token) =>
            {
                user(item);
                return default;
            });
        });
    }

    /// <summary>Passes on the items that are of a type.</summary>
    /// <typeparam name="TOut">The type.</typeparam>
    /// <remarks>
    /// Emits: the items of the type. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every passed item was accepted. Faults: never by itself.
    /// </remarks>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, TOut> OfType<TOut>()
        where TOut : T =>
        Continue<TOut>(Items("of-type", InThisProcess, null, static (_, _) => new OfTypeHandler<T, TOut>()));

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
    /// <param name="key">Finds the key of an item. When it throws, the stage faults.</param>
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
            CarriedTypes = [typeof(T), typeof(TOut)],
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
    /// <remarks>
    /// Emits: the first items. Waits: while the next stage has no slot.
    /// Completes: when it has passed on <paramref name="count"/> items, or the input has ended; the stages before it end for lack of demand. Faults: never by itself.
    /// </remarks>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is negative.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, T> Take(long count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        return Continue<T>(new StageDefinition("take", StageOptions.Default, setup => new TakeStage<T>(setup, count)));
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

    /// <summary>Leads every item to every branch.</summary>
    /// <param name="branches">Each continues its parameter to an end.</param>
    /// <remarks>
    /// Emits: every item, to every live branch. Waits: while any branch has no slot, unless its <c>WhenFull</c> says otherwise.
    /// Completes: when the input has ended, or no branch is left. Faults: when a branch with <see cref="FullMode.Fail"/> is full.
    /// </remarks>
    /// <exception cref="ArgumentException">A branch is null or does not continue its parameter to an end.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> Broadcast(params ReadOnlySpan<Func<BranchBuilder<T>, PipelineEnd<BranchInput>>> branches) =>
        Broadcast(StageOptions.Default, branches);

    /// <summary>Leads every item to every branch.</summary>
    /// <param name="options">The settings of the stage.</param>
    /// <param name="branches">Each continues its parameter to an end.</param>
    /// <inheritdoc cref="Broadcast(ReadOnlySpan{Func{BranchBuilder{T}, PipelineEnd{BranchInput}}})" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="options"/> is null.</exception>
    /// <exception cref="ArgumentException">There is no branch, or one is null or does not continue its parameter to an end.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(1)]
    public PipelineEnd<TIn> Broadcast(StageOptions options, params ReadOnlySpan<Func<BranchBuilder<T>, PipelineEnd<BranchInput>>> branches)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (branches.Length == 0)
            throw new ArgumentException("A broadcast needs at least one branch.", nameof(branches));
        var broadcast = new StageDefinition("broadcast", options, static setup => new BroadcastStage<T>(setup)) { IsOneToOne = true };
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

    /// <summary>Hands the items to a foreign target, which is completed, or faulted, when they have ended. Such a pipeline runs once.</summary>
    /// <param name="target">The target.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: while the target postpones.
    /// Completes: when the target's <c>Completion</c> has. Faults: when the target does.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="target"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To(ITargetBlock<T> target, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(target);
        return EndWith(new StageDefinition("to", options ?? StageOptions.Default, setup => new ForeignEndStage<T>(setup, () => new BlockTarget<T, T>(target))) { SingleUse = target });
    }

    /// <summary>Hands the items to a foreign target, which a factory makes anew for each run.</summary>
    /// <param name="factory">Makes the target; it is completed, or faulted, when the items have ended.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="To(ITargetBlock{T}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To(Func<ITargetBlock<T>> factory, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return EndWith(new StageDefinition("to", options ?? StageOptions.Default, setup => new ForeignEndStage<T>(setup, () => new BlockTarget<T, T>(factory()))));
    }

    /// <summary>Hands the items to a channel, which is completed when they have ended. Such a pipeline runs once.</summary>
    /// <param name="writer">The channel's writer.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: while the channel is full.
    /// Completes: when the input has ended and the channel has taken the last item; when the channel was completed by others it ends for lack of demand. Faults: when the channel throws.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="writer"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To(ChannelWriter<T> writer, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(writer);
        return EndWith(new StageDefinition("to", options ?? StageOptions.Default, setup => new ForeignEndStage<T>(setup, () => new ChannelTarget<T, T>(writer))) { SingleUse = writer });
    }

    /// <summary>Hands the items to a runnable that exists already. Such a pipeline runs once.</summary>
    /// <param name="sink">The runnable.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the runnable.
    /// Completes: when the input has ended and <c>OnCompletedAsync</c> has returned. Faults: when a callback throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="sink"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To(SinkRunnable<T> sink, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(sink);
        return EndWith(RunnableStages.Sink(options, sink));
    }

    /// <summary>Hands the items to a runnable, which a factory makes anew for each run and instance.</summary>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="To(SinkRunnable{T}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To(Func<SinkRunnable<T>> factory, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return EndWith(RunnableStages.Sink(options, factory));
    }

    /// <summary>Hands the items to a runnable, which a factory makes anew from an options value for each run and instance.</summary>
    /// <typeparam name="TOptions">The type of the options: a value that is copied to where the runnable runs.</typeparam>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="runnableOptions">What the factory is given.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="To(SinkRunnable{T}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To<TOptions>(Func<TOptions, SinkRunnable<T>> factory, TOptions runnableOptions, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return EndWith(RunnableStages.Sink(options, factory, runnableOptions));
    }
}
