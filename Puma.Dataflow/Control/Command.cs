namespace Puma.Dataflow.Control;

/// <summary>Something that runs on the stream of an instance, between two items: a call of a member, or the rest of a stream. It answers its caller itself.</summary>
internal abstract class Command
{
    /// <summary>Where it waits. Guarded by the lane.</summary>
    internal LinkedListNode<Command>? Place { get; set; }

    /// <summary>Whether somebody waits for it, who is to be let go when the instance ends while it runs.</summary>
    internal virtual bool HasCaller => false;

    /// <summary>Runs it. Never throws. The instance's stream only.</summary>
    /// <param name="instance">The instance.</param>
    /// <param name="runnable">Its runnable.</param>
    /// <param name="cancellationToken">Fires when the stage gives up.</param>
    public abstract ValueTask RunAsync(InstanceControl instance, Runnable runnable, CancellationToken cancellationToken);

    /// <summary>Answers it without having run it, or while it runs and nobody waits until it has.</summary>
    public abstract void Refuse(CommandRefusal refusal);
}

/// <summary>Why commands are not run.</summary>
internal sealed record CommandRefusal(CommandFailure Failure, string Reason, Exception? Cause = null)
{
    public static readonly CommandRefusal NoRunnable = new(CommandFailure.NotServed, "it runs a delegate; only runnables can be called.");

    /// <summary>The same for a call of which it is not known what it did until then.</summary>
    public CommandRefusal Unknown(string why) => this with { Reason = $"{Reason} {why}" };

    public CommandFailedException ToException(string stage, int instance, string member) => new(stage, instance, member, Failure, Reason, Cause);
}

/// <summary>The user code of an instance, as its control lane sees it. Called on the instance's stream.</summary>
internal interface IControlledCode
{
    ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken);

    ValueTask TickAsync(CancellationToken cancellationToken);
}
