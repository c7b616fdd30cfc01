using Puma.Dataflow.Runnables;

namespace Puma.Dataflow;

/// <summary>
/// A runnable with any number of inputs and outputs, each a property of type <see cref="Input{T}"/> or <see cref="Output{T}"/>.
/// The inputs are serviced in turn, one item at a time; a flooded one starves nobody.
/// </summary>
public abstract class PortRunnable : Runnable
{
    /// <summary>Creates the runnable; its constructor makes the inputs and outputs.</summary>
    protected PortRunnable() { }
}

/// <summary>An input of a <see cref="PortRunnable"/>.</summary>
public abstract class InputPort
{
    private readonly Func<CancellationToken, ValueTask>? _onCompleted;
    private readonly SharedCompletion? _shared;

    private protected InputPort(Func<CancellationToken, ValueTask>? onCompleted) => _onCompleted = onCompleted;

    private protected InputPort(SharedCompletion completion)
    {
        ArgumentNullException.ThrowIfNull(completion);
        completion.Join();
        _shared = completion;
    }

    /// <summary>Notes that this input has ended. Called once, on the stream of the runnable.</summary>
    /// <returns>What is to run now, if anything.</returns>
    internal Func<CancellationToken, ValueTask>? End() => _shared is null ? _onCompleted : _shared.Leave();

    internal abstract TResult Accept<TResult>(IInputVisitor<TResult> visitor);
}

/// <summary>An input of a <see cref="PortRunnable"/> for items of one type.</summary>
/// <typeparam name="T">The item type.</typeparam>
public sealed class Input<T> : InputPort
{
    /// <summary>Creates an input.</summary>
    /// <param name="onItem">Handles one item.</param>
    /// <param name="onCompleted">Runs once when this input has ended and its last item was handled; may be null.</param>
    public Input(Func<T, CancellationToken, ValueTask> onItem, Func<CancellationToken, ValueTask>? onCompleted = null)
        : base(onCompleted)
    {
        ArgumentNullException.ThrowIfNull(onItem);
        OnItem = onItem;
    }

    /// <summary>Creates an input that ends together with others.</summary>
    /// <param name="onItem">Handles one item.</param>
    /// <param name="completion">What runs once when all inputs that share it have ended.</param>
    public Input(Func<T, CancellationToken, ValueTask> onItem, SharedCompletion completion)
        : base(completion)
    {
        ArgumentNullException.ThrowIfNull(onItem);
        OnItem = onItem;
    }

    internal Func<T, CancellationToken, ValueTask> OnItem { get; }

    internal override TResult Accept<TResult>(IInputVisitor<TResult> visitor) => visitor.Visit(this);
}

/// <summary>An output of a <see cref="PortRunnable"/>.</summary>
public abstract class OutputPort
{
    private protected OutputPort() { }

    internal abstract void Accept(IOutputVisitor visitor);
}

/// <summary>An output of a <see cref="PortRunnable"/> for values of one type.</summary>
/// <typeparam name="T">The value type.</typeparam>
public sealed class Output<T> : OutputPort
{
    internal Emitter<T>? Emitter { get; set; }

    internal override void Accept(IOutputVisitor visitor) => visitor.Visit(this);

    /// <summary>Hands a value to the stage that this output leads to; completes when it was accepted. Await it before the next one.</summary>
    /// <param name="value">The value; from here on it belongs to the pipeline.</param>
    /// <param name="cancellationToken">Ends the wait for a slot.</param>
    /// <exception cref="OperationCanceledException">The stage must give up, or the token fired.</exception>
    /// <exception cref="InvalidOperationException">The runnable has not been started.</exception>
    public ValueTask EmitAsync(T value, CancellationToken cancellationToken = default) =>
        (Emitter ?? throw new InvalidOperationException("This output is not connected yet: emit from OnStartAsync on, not in the constructor.")).EmitAsync(value, cancellationToken);
}
