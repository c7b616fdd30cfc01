using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Hosts a runnable without items.</summary>
internal sealed class HostedCommand : HostedCode
{
    private readonly HostSetup _setup;
    private readonly OwnThread? _thread;
    private readonly Func<CommandRunnable> _make;
    private CommandRunnable? _runnable;

    private HostedCommand(Func<CommandRunnable> make, HostSetup setup)
    {
        _make = make;
        _setup = setup;
        if (setup.OwnThread)
            _thread = new OwnThread(setup.ThreadName);
    }

    public static HostedCode Make(Recipe recipe, HostSetup setup) =>
        new HostedCommand(() => ((CodeMaker<CommandRunnable>)recipe.Maker)(recipe.UserCode, recipe.Options), setup);

    public override bool HasBody => true;

    public override ValueTask StartAsync(StageContext context, CancellationToken cancellationToken) => CallAsync(() =>
    {
        _runnable = _make();
        return _runnable.StartAsync(context, cancellationToken);
    });

    /// <summary>It lives until it is asked to end.</summary>
    public override ValueTask ProduceAsync(CancellationToken stopToken) => _setup.WaitForStopAsync();

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
}
