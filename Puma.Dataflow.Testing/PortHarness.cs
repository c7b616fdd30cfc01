using System.Diagnostics.CodeAnalysis;
using System.Linq.Expressions;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow.Testing;

/// <summary>Runs one runnable with several inputs and outputs.</summary>
/// <typeparam name="TRunnable">The runnable.</typeparam>
public sealed class PortHarness<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] TRunnable> : RunnableHarness
    where TRunnable : PortRunnable
{
    private readonly Func<TRunnable> _factory;
    private readonly Dictionary<string, object> _inputs = [];
    private readonly Dictionary<string, object> _outputs = [];
    private readonly List<Action> _endings = [];
    private readonly List<Action<PortBuilder<NoInput, TRunnable>>> _connections = [];
    private Func<PortBuilder<NoInput, TRunnable>>? _begin;

    internal PortHarness(Func<TRunnable> factory, StageOptions? options) : base(options)
    {
        ArgumentNullException.ThrowIfNull(factory);
        _factory = factory;
    }

    /// <summary>Opens an input for the test to send to.</summary>
    /// <typeparam name="T">The item type of the input.</typeparam>
    /// <param name="input">Names the input, for example <c>r =&gt; r.Readings</c>.</param>
    /// <exception cref="ArgumentNullException"><paramref name="input"/> is null.</exception>
    /// <exception cref="ArgumentException"><paramref name="input"/> does not name a property, or one that was named before.</exception>
    public PortHarness<TRunnable> WithInput<T>(Expression<Func<TRunnable, Input<T>>> input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var opened = new HarnessInput<T>();
        Add(_inputs, input, opened);
        _endings.Add(opened.End);
        if (_begin is null)
            _begin = () => opened.Begin().Into(Remember(_factory), input, Options);
        else
            _connections.Add(ports => ports.From(input, opened.Begin()));
        return this;
    }

    /// <summary>Collects an output for the test.</summary>
    /// <typeparam name="T">The value type of the output.</typeparam>
    /// <param name="output">Names the output, for example <c>r =&gt; r.Warnings</c>.</param>
    /// <exception cref="ArgumentNullException"><paramref name="output"/> is null.</exception>
    /// <exception cref="ArgumentException"><paramref name="output"/> does not name a property, or one that was named before.</exception>
    public PortHarness<TRunnable> WithOutput<T>(Expression<Func<TRunnable, Output<T>>> output)
    {
        ArgumentNullException.ThrowIfNull(output);
        var collected = new HarnessOutput<T>();
        Add(_outputs, output, collected);
        _connections.Add(ports => ports.Branch(output, b => b.ForEach(collected.Add)));
        return this;
    }

    /// <summary>Sends an item to an input and waits until the runnable has handled it, or waits for the time of its next attempt.</summary>
    /// <typeparam name="T">The item type of the input.</typeparam>
    /// <param name="input">Names the input.</param>
    /// <param name="item">The item.</param>
    /// <exception cref="StageFaultedException">The item faulted the stage.</exception>
    /// <exception cref="ArgumentNullException">The selector is null.</exception>
    /// <exception cref="ArgumentException">The input was not opened by <see cref="WithInput"/>.</exception>
    /// <exception cref="InvalidOperationException">The harness was not started, or the runnable has ended.</exception>
    public async Task SendAsync<T>(Expression<Func<TRunnable, Input<T>>> input, T item)
    {
        ArgumentNullException.ThrowIfNull(input);
        await ((HarnessInput<T>)Find(_inputs, input, nameof(WithInput))).SendAsync(Run, item).ConfigureAwait(false);
        await RestAsync().ConfigureAwait(false);
    }

    /// <summary>Ends one input and waits until the runnable was told.</summary>
    /// <typeparam name="T">The item type of the input.</typeparam>
    /// <param name="input">Names the input.</param>
    /// <exception cref="StageFaultedException">The runnable failed.</exception>
    /// <exception cref="ArgumentNullException">The selector is null.</exception>
    /// <exception cref="ArgumentException">The input was not opened by <see cref="WithInput"/>.</exception>
    public async Task CompleteAsync<T>(Expression<Func<TRunnable, Input<T>>> input)
    {
        ArgumentNullException.ThrowIfNull(input);
        string name = NameOf(input);
        ((HarnessInput<T>)Find(_inputs, input, nameof(WithInput))).End();
        int port = _inputs.Keys.ToList().IndexOf(name);
        await Patience.WaitAsync(Run.Graph.Nodes.Single(n => n.Outputs.Contains(Node.Inputs[port])).Completion, DescribeWait).ConfigureAwait(false);
        await RestAsync().ConfigureAwait(false);
    }

    /// <summary>Everything that an output has emitted so far.</summary>
    /// <typeparam name="T">The value type of the output.</typeparam>
    /// <param name="output">Names the output.</param>
    /// <exception cref="ArgumentNullException">The selector is null.</exception>
    /// <exception cref="ArgumentException">The output was not named by <see cref="WithOutput"/>.</exception>
    public IReadOnlyList<T> Outputs<T>(Expression<Func<TRunnable, Output<T>>> output)
    {
        ArgumentNullException.ThrowIfNull(output);
        return ((HarnessOutput<T>)Find(_outputs, output, nameof(WithOutput))).Values;
    }

    private protected override PipelineEnd<NoInput> Describe()
    {
        PortBuilder<NoInput, TRunnable> ports = (_begin ?? throw new InvalidOperationException("The harness has no input: name each by WithInput before the start.")).Invoke();
        _connections.ForEach(connect => connect(ports));
        return ports.End();
    }

    private protected override void EndInput() => _endings.ForEach(static end => end());

    private protected override bool IsAtRest() => (Node.Activity == StageActivity.Ended || !((PortStage)Node).HasUntoldEnd) && base.IsAtRest();

    private static void Add(Dictionary<string, object> ports, LambdaExpression selector, object port)
    {
        string name = NameOf(selector);
        if (!ports.TryAdd(name, port))
            throw new ArgumentException($"{typeof(TRunnable).Name}.{name} was named before.", nameof(selector));
    }

    private static object Find(Dictionary<string, object> ports, LambdaExpression selector, string method)
    {
        string name = NameOf(selector);
        return ports.TryGetValue(name, out object? port)
            ? port
            : throw new ArgumentException($"{typeof(TRunnable).Name}.{name} is unknown to the harness: name it by {method} before the start.", nameof(selector));
    }

    private static string NameOf(LambdaExpression selector) =>
        selector.Body is MemberExpression { Expression: ParameterExpression } member
            ? member.Member.Name
            : throw new ArgumentException($"'{selector}' does not name a property of {typeof(TRunnable).Name}. Write r => r.PropertyName.", nameof(selector));
}
