using System.Diagnostics.CodeAnalysis;
using System.Linq.Expressions;
using System.Reflection;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>Connects the inputs and outputs of a runnable that has several. Each is connected once; <c>Build()</c> checks it.</summary>
/// <typeparam name="TIn">What the pipeline accepts.</typeparam>
/// <typeparam name="TRunnable">The runnable.</typeparam>
public sealed class PortBuilder<TIn, [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] TRunnable>
    where TRunnable : PortRunnable
{
    private readonly StageDefinition _stage;
    private readonly List<Func<PortRunnable, PortStage, Link, PortReader>> _inputs = [];
    private readonly List<Func<PortRunnable, PortStage, Link, IAttemptOutputs>> _outputs = [];
    private readonly List<Func<StageNode, Link, ItemCodecs, ChildInput>> _childInputs = [];
    private readonly List<Func<StageNode, Link, ItemCodecs, ChildOutput>> _childOutputs = [];
    private readonly List<string> _ports = [];
    private readonly List<Type> _carriedItems = [];
    private readonly List<Type> _carriedResults = [];
    private readonly HashSet<string> _connected = [];

    private PortBuilder(CodeMaker<PortRunnable> maker, Delegate factory, object? runnableOptions, Type? optionsType, StageOptions? options)
    {
        var recipe = new Recipe<PortRunnable>(HostedPorts.Make, maker, factory, runnableOptions, optionsType, _ports) { HasState = true };
        _stage = new StageDefinition("runnable", options ?? StageOptions.Default, setup => setup.Options.Placement is InProcessPlacement
            ? new PortStage(setup, recipe.Make, _inputs, _outputs)
            : new ChildStage(setup, new ChildPlan(recipe, _childInputs, _childOutputs, HasPorts: true)))
        {
            ItemType = typeof(object),
            HasInstances = true,
            HasTicks = true,
            Recipe = recipe,
            CarriedItems = _carriedItems,
            CarriedResults = _carriedResults,
        };
        NoteUnconnected();
    }

    internal static PortBuilder<TIn, TRunnable> Of(Func<TRunnable> factory, StageOptions? options) =>
        new(static (code, _) => RunnableStages.Made(((Func<TRunnable>)code!)()), factory, null, null, options);

    internal static PortBuilder<TIn, TRunnable> Of<TOptions>(Func<TOptions, TRunnable> factory, TOptions runnableOptions, StageOptions? options) =>
        new(static (code, o) => RunnableStages.Made(((Func<TOptions, TRunnable>)code!)((TOptions)o!)), factory, runnableOptions, typeof(TOptions), options);

    /// <summary>Leads another pipeline into an input.</summary>
    /// <typeparam name="T">The item type of the input.</typeparam>
    /// <param name="input">Names the input, for example <c>r =&gt; r.Readings</c>.</param>
    /// <param name="source">The other pipeline.</param>
    /// <exception cref="ArgumentNullException">An argument is null.</exception>
    /// <exception cref="ArgumentException"><paramref name="input"/> does not name a property, or one that is connected already.</exception>
    /// <exception cref="InvalidOperationException">The other pipeline was continued before.</exception>
    public PortBuilder<TIn, TRunnable> From<T>(Expression<Func<TRunnable, Input<T>>> input, PipelineBuilder<NoInput, T> source)
    {
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(source);
        Connect(source, input);
        return this;
    }

    /// <summary>Leads an output to a branch that ends by itself.</summary>
    /// <typeparam name="T">The value type of the output.</typeparam>
    /// <param name="output">Names the output, for example <c>r =&gt; r.Warnings</c>.</param>
    /// <param name="branch">Continues its parameter to an end.</param>
    /// <exception cref="ArgumentNullException">An argument is null.</exception>
    /// <exception cref="ArgumentException"><paramref name="output"/> does not name a property, or one that is connected already, or the branch is not connected.</exception>
    public PortBuilder<TIn, TRunnable> Branch<T>(Expression<Func<TRunnable, Output<T>>> output, Func<BranchBuilder<T>, PipelineEnd<BranchInput>> branch)
    {
        ArgumentNullException.ThrowIfNull(output);
        BranchBuilder<T>.Write(_stage, Connect(output), branch);
        return this;
    }

    /// <summary>Goes on with an output.</summary>
    /// <typeparam name="T">The value type of the output.</typeparam>
    /// <param name="output">Names the output, for example <c>r =&gt; r.Aligned</c>.</param>
    /// <exception cref="ArgumentNullException"><paramref name="output"/> is null.</exception>
    /// <exception cref="ArgumentException"><paramref name="output"/> does not name a property, or one that is connected already.</exception>
    public PipelineBuilder<TIn, T> Continue<T>(Expression<Func<TRunnable, Output<T>>> output)
    {
        ArgumentNullException.ThrowIfNull(output);
        return new PipelineBuilder<TIn, T>(_stage, Connect(output));
    }

    /// <summary>Ends the pipeline here; all outputs are branches.</summary>
    public PipelineEnd<TIn> End() => new(_stage);

    internal void Connect<TAny, T>(PipelineBuilder<TAny, T> source, Expression<Func<TRunnable, Input<T>>> input)
    {
        PropertyInfo property = Property(input);
        source.ConnectTo(_stage);
        _inputs.Add((runnable, stage, link) => new PortReader<T>(stage, Port<Input<T>>(runnable, property), (Link<T>)link));
        _childInputs.Add(static (stage, link, codecs) => new ChildInput<T>(stage, (Link<T>)link, codecs, keyHash: null));
        _ports.Add(property.Name);
        _carriedItems.Add(typeof(T));
        NoteUnconnected();
    }

    private int Connect<T>(Expression<Func<TRunnable, Output<T>>> output)
    {
        PropertyInfo property = Property(output);
        _outputs.Add((runnable, stage, link) =>
        {
            var emitter = new LinkEmitter<T>(stage, (Link<T>)link);
            Port<Output<T>>(runnable, property).Emitter = emitter;
            return emitter;
        });
        _childOutputs.Add(static (stage, link, codecs) => new ChildOutput<T>(stage, (Link<T>)link, codecs));
        _ports.Add(HostedPorts.OutputMark + property.Name);
        _carriedResults.Add(typeof(T));
        NoteUnconnected();
        return _outputs.Count - 1;
    }

    private PropertyInfo Property(LambdaExpression selector)
    {
        if (selector.Body is not MemberExpression { Member: PropertyInfo property, Expression: ParameterExpression })
            throw new ArgumentException($"'{selector}' does not name a property of {typeof(TRunnable).Name}. Write r => r.PropertyName.", nameof(selector));
        if (!_connected.Add(property.Name))
            throw new ArgumentException($"{typeof(TRunnable).Name}.{property.Name} is connected already. Each input and output is connected once; use Merge or Broadcast for several.", nameof(selector));
        return property;
    }

    private static TPort Port<TPort>(PortRunnable runnable, PropertyInfo property)
        where TPort : class =>
        (TPort?)property.GetValue(runnable) ?? throw new InvalidOperationException($"{typeof(TRunnable).Name}.{property.Name} is null. Make it in the constructor.");

    private void NoteUnconnected()
    {
        _stage.Problems.Clear();
        foreach (PropertyInfo property in typeof(TRunnable).GetProperties())
        {
            if (_connected.Contains(property.Name))
                continue;
            if (property.PropertyType.IsAssignableTo(typeof(InputPort)))
                _stage.Problems.Add($"input '{property.Name}' is not connected. Lead a pipeline into it with From(r => r.{property.Name}, ...).");
            else if (property.PropertyType.IsAssignableTo(typeof(OutputPort)))
                _stage.Problems.Add($"output '{property.Name}' is not connected. Use Branch(r => r.{property.Name}, ...) or Continue(r => r.{property.Name}).");
        }
    }
}
