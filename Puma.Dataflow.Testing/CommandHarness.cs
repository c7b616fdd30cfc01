namespace Puma.Dataflow.Testing;

/// <summary>Runs one runnable that is driven by ticks and commands alone.</summary>
public sealed class CommandHarness : RunnableHarness
{
    private readonly Func<CommandRunnable> _factory;

    internal CommandHarness(Func<CommandRunnable> factory, StageOptions? options) : base(options)
    {
        ArgumentNullException.ThrowIfNull(factory);
        _factory = factory;
    }

    private protected override PipelineEnd<NoInput> Describe() => Pipeline.Of(Remember(_factory), Options);
}
