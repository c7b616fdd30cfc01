using System.Diagnostics.CodeAnalysis;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Hosts a runnable with several inputs and outputs, which are found by the names of their properties.</summary>
internal sealed class HostedPorts : HostedCode
{
    /// <summary>Begins the name of an output in a recipe; those of inputs have no mark.</summary>
    public const string OutputMark = ">";

    private readonly List<HostedInput> _inputs = [];
    private readonly Func<PortRunnable> _make;
    private readonly IReadOnlyList<string> _ports;
    private readonly HostSetup _setup;
    private readonly OwnThread? _thread;
    private PortRunnable? _runnable;

    private HostedPorts(Func<PortRunnable> make, IReadOnlyList<string> ports, HostSetup setup)
    {
        _make = make;
        _ports = ports;
        _setup = setup;
        if (setup.OwnThread)
            _thread = new OwnThread(setup.ThreadName);
    }

    public static HostedCode Make(Recipe recipe, HostSetup setup) =>
        new HostedPorts(() => ((CodeMaker<PortRunnable>)recipe.Maker)(recipe.UserCode, recipe.Options), recipe.Ports, setup);

    public override ValueTask StartAsync(StageContext context, CancellationToken cancellationToken) => CallAsync(() =>
    {
        _runnable = _make();
        int outputs = 0;
        foreach (string name in _ports)
        {
            if (name.StartsWith(OutputMark, StringComparison.Ordinal))
                Port<OutputPort>(name[OutputMark.Length..]).Accept(new OutputConnection(_setup, outputs++));
            else
                _inputs.Add(Port<InputPort>(name).Accept(new InputConnection(_setup)));
        }

        return _runnable.StartAsync(context, cancellationToken);
    });

    public override HeldItem Read(int port, PayloadReader payload)
    {
        HeldItem item = _inputs[port].Read(payload);
        return _thread is null ? item : new OnThread(_thread, item);
    }

    public override ValueTask InputEndedAsync(int port, CancellationToken cancellationToken) =>
        _inputs[port].OnCompleted is { } onCompleted ? CallAsync(() => onCompleted(cancellationToken)) : default;

    public override ValueTask TickAsync(CancellationToken cancellationToken) => CallAsync(() => _runnable!.TickAsync(cancellationToken));

    public override ValueTask CompletedAsync(CancellationToken cancellationToken) => CallAsync(() => _runnable!.CompletedAsync(cancellationToken));

    public override async ValueTask EndAsync(RunState outcome, Exception? cause)
    {
        try
        {
            await CallAsync(() => _runnable!.EndAsync(outcome, cause)).ConfigureAwait(false);
        }
        finally
        {
            _thread?.Dispose();
        }
    }

    private ValueTask CallAsync(Func<ValueTask> callback) => _thread?.InvokeAsync(callback) ?? callback();

    [UnconditionalSuppressMessage("Trimming", "IL2075", Justification = "The builder that connects the ports keeps the public properties of the runnable.")]
    private TPort Port<TPort>(string name)
        where TPort : class =>
        (TPort?)_runnable!.GetType().GetProperty(name)?.GetValue(_runnable)
            ?? throw new InvalidOperationException($"{_runnable.GetType().Name}.{name} is null. Make it in the constructor.");

    /// <summary>One input: decodes and handles its items.</summary>
    private abstract class HostedInput
    {
        public abstract Func<CancellationToken, ValueTask>? OnCompleted { get; }

        public abstract HeldItem Read(PayloadReader payload);
    }

    private sealed class HostedInput<T>(Input<T> input, ItemCodec<T> codec) : HostedInput
    {
        public override Func<CancellationToken, ValueTask>? OnCompleted => input.OnCompleted;

        public override HeldItem Read(PayloadReader payload) => new Held(input, codec.Read(payload));

        private sealed class Held(Input<T> input, T item) : HeldItem
        {
            public override ValueTask HandleAsync(CancellationToken cancellationToken) => input.OnItem(item, cancellationToken);
        }
    }

    private sealed class OnThread(OwnThread thread, HeldItem item) : HeldItem
    {
        public override ValueTask HandleAsync(CancellationToken cancellationToken) => thread.InvokeAsync(() => item.HandleAsync(cancellationToken));
    }

    private sealed class InputConnection(HostSetup setup) : IInputVisitor<HostedInput>
    {
        public HostedInput Visit<T>(Input<T> input) => new HostedInput<T>(input, setup.Codecs.For<T>());
    }

    private sealed class OutputConnection(HostSetup setup, int port) : IOutputVisitor
    {
        public void Visit<T>(Output<T> output) => output.Emitter = setup.Output<T>(port);
    }
}
