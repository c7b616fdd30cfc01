using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>The user code of one instance in a child, whatever its kind. Its members are never called concurrently.</summary>
internal abstract class HostedCode : IControlledCode
{
    /// <summary>Whether it runs of its own accord instead of handling items.</summary>
    public virtual bool HasBody => false;

    public abstract ValueTask StartAsync(StageContext context, CancellationToken cancellationToken);

    /// <summary>Decodes an item; it stays until it is left.</summary>
    public virtual HeldItem Read(int port, PayloadReader payload) => throw new NotSupportedException("This code handles no items.");

    /// <summary>Whether it handles the items of a pack in one go, as long as each takes no wait. Other code is sent none: its single answers would take each pack apart.</summary>
    public virtual bool HandlesPacks => false;

    /// <summary>Handles items of a pack, one after the other, as long as each may be begun and its result goes out at once.</summary>
    /// <param name="pack">Goes on behind those that were handled.</param>
    /// <param name="work">Who lets them begin and takes their results.</param>
    /// <returns>What the last of them threw; null when none did.</returns>
    public virtual Exception? HandlePack(ref FramePack pack, PackInWork work) => throw new NotSupportedException("This code handles single items.");

    public virtual ValueTask InputEndedAsync(int port, CancellationToken cancellationToken) => default;

    public virtual ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken)
    {
        command.Refuse(CommandRefusal.NoRunnable);
        return default;
    }

    public virtual ValueTask TickAsync(CancellationToken cancellationToken) => default;

    /// <summary>Runs until there is no more to do, or until the token asks it to end.</summary>
    public virtual ValueTask ProduceAsync(CancellationToken stopToken) => default;

    /// <summary>Runs before each wait for an item.</summary>
    public virtual ValueTask IdleAsync(CancellationToken cancellationToken) => default;

    public virtual ValueTask CompletedAsync(CancellationToken cancellationToken) => default;

    public virtual ValueTask EndAsync(RunState outcome, Exception? cause) => default;
}

/// <summary>An item that was decoded and can be handled, again and again if need be.</summary>
internal abstract class HeldItem
{
    /// <summary>Whether its handler emits at most once, as the last thing it does.</summary>
    public virtual bool EmitsLast => false;

    public abstract ValueTask HandleAsync(CancellationToken cancellationToken);

    /// <summary>Lets go of the item, which is not tried again.</summary>
    public virtual void Leave() { }
}

/// <summary>Hosts a runnable itself, on a thread of its own if the stage says so.</summary>
internal abstract class HostedRunnable<TRunnable>(Func<TRunnable> make, HostSetup setup) : HostedCode
    where TRunnable : Runnable
{
    private OwnThread? _thread;

    protected HostSetup Setup => setup;

    /// <summary>Made when it is started.</summary>
    protected TRunnable Runnable { get; private set; } = null!;

    /// <summary>Runs between making and starting.</summary>
    protected virtual void Connect() { }

    protected ValueTask CallAsync(Func<ValueTask> callback) => _thread?.InvokeAsync(callback) ?? callback();

    public override async ValueTask StartAsync(StageContext context, CancellationToken cancellationToken)
    {
        if (setup.OwnThread)
            _thread = new OwnThread(setup.Stage);
        try
        {
            await CallAsync(() =>
            {
                Runnable = make();
                Connect();
                return Runnable.StartAsync(context, cancellationToken);
            }).ConfigureAwait(false);
        }
        catch
        {
            // What has not started is not ended either.
            _thread?.Dispose();
            throw;
        }
    }

    public override ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken) => CallAsync(() => command.RunAsync(instance, Runnable, cancellationToken));

    public override ValueTask TickAsync(CancellationToken cancellationToken) => CallAsync(() => Runnable.TickAsync(cancellationToken));

    public override ValueTask CompletedAsync(CancellationToken cancellationToken) => CallAsync(() => Runnable.CompletedAsync(cancellationToken));

    public override async ValueTask EndAsync(RunState outcome, Exception? cause)
    {
        try
        {
            await CallAsync(() => Runnable.EndAsync(outcome, cause)).ConfigureAwait(false);
        }
        finally
        {
            _thread?.Dispose();
        }
    }
}
