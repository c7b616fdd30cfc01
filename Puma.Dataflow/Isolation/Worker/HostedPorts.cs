using System.Diagnostics.CodeAnalysis;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Hosts a runnable with several inputs and outputs, which are found by the names of their properties.</summary>
internal sealed class HostedPorts : HostedRunnable<PortRunnable>
{
    /// <summary>Begins the name of an output in a recipe; those of inputs have no mark.</summary>
    public const string OutputMark = ">";

    private readonly List<HostedInput> _inputs = [];
    private readonly IReadOnlyList<string> _ports;

    private HostedPorts(Func<PortRunnable> make, IReadOnlyList<string> ports, HostSetup setup)
        : base(make, setup)
    {
        _ports = ports;
    }

    public static HostedCode Make(Recipe recipe, HostSetup setup) =>
        new HostedPorts(() => ((CodeMaker<PortRunnable>)recipe.Maker)(recipe.UserCode, recipe.Options), recipe.Ports, setup);

    protected override void Connect()
    {
        int outputs = 0;
        foreach (string name in _ports)
        {
            if (name.StartsWith(OutputMark, StringComparison.Ordinal))
                Port<OutputPort>(name[OutputMark.Length..]).Accept(new OutputConnection(Setup, outputs++));
            else
                _inputs.Add(Port<InputPort>(name).Accept(new InputConnection(Setup)));
        }
    }

    public override HeldItem Read(int port, PayloadReader payload)
    {
        HeldItem item = _inputs[port].Read(payload);
        return Setup.OwnThread ? new OnThread(this, item) : item;
    }

    public override ValueTask InputEndedAsync(int port, CancellationToken cancellationToken) =>
        _inputs[port].End() is { } onCompleted ? CallAsync(() => onCompleted(cancellationToken)) : default;

    [UnconditionalSuppressMessage("Trimming", "IL2075", Justification = "The builder that connects the ports keeps the public properties of the runnable.")]
    private TPort Port<TPort>(string name)
        where TPort : class =>
        (TPort?)Runnable.GetType().GetProperty(name)?.GetValue(Runnable)
            ?? throw new InvalidOperationException($"{Runnable.GetType().Name}.{name} is null. Make it in the constructor.");

    /// <summary>One input: decodes and handles its items.</summary>
    private abstract class HostedInput
    {
        /// <inheritdoc cref="InputPort.End"/>
        public abstract Func<CancellationToken, ValueTask>? End();

        public abstract HeldItem Read(PayloadReader payload);
    }

    private sealed class HostedInput<T>(Input<T> input, ItemCodec<T> codec) : HostedInput
    {
        public override Func<CancellationToken, ValueTask>? End() => input.End();

        public override HeldItem Read(PayloadReader payload) => new Held(input, codec.Read(payload));

        private sealed class Held(Input<T> input, T item) : HeldItem
        {
            public override ValueTask HandleAsync(CancellationToken cancellationToken) => input.OnItem(item, cancellationToken);
        }
    }

    private sealed class OnThread(HostedPorts code, HeldItem item) : HeldItem
    {
        public override ValueTask HandleAsync(CancellationToken cancellationToken) => code.CallAsync(() => item.HandleAsync(cancellationToken));
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
