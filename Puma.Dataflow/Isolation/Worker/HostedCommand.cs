using Puma.Dataflow.Isolation.Recipes;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Hosts a runnable without items.</summary>
internal sealed class HostedCommand : HostedRunnable<CommandRunnable>
{
    private HostedCommand(Func<CommandRunnable> make, HostSetup setup)
        : base(make, setup) { }

    public static HostedCode Make(Recipe recipe, HostSetup setup) =>
        new HostedCommand(() => ((CodeMaker<CommandRunnable>)recipe.Maker)(recipe.UserCode, recipe.Options), setup);

    public override bool HasBody => true;

    /// <summary>It lives until it is asked to end.</summary>
    public override ValueTask ProduceAsync(CancellationToken stopToken) => Setup.WaitForStopAsync();
}
