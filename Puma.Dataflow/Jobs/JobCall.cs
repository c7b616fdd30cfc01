using Puma.Dataflow.Isolation.Codec;

namespace Puma.Dataflow.Jobs;

/// <summary>A job as it goes to a worker: what to call, and with what.</summary>
/// <param name="id">By which its answer finds its caller.</param>
/// <param name="ticket">What its caller waits for; null in another process, to which it does not travel.</param>
internal abstract class JobCall(long id, JobTicket? ticket)
{
    public long Id => id;

    public JobTicket? Ticket => ticket;

    /// <summary>Does the job, here.</summary>
    public abstract ValueTask<JobReply> RunAsync(CancellationToken cancellationToken);

    /// <summary>Which code it calls, so that another process finds it.</summary>
    public abstract ReadOnlySpan<byte> CodeIdentity { get; }

    /// <exception cref="ItemCodecException">The argument cannot be carried.</exception>
    public abstract void WriteArgument(PayloadWriter writer, ItemCodecs codecs);
}

/// <inheritdoc/>
internal sealed class JobCall<TArgument, TResult>(long id, JobCode<TArgument, TResult> code, TArgument argument, JobTicket? ticket = null) : JobCall(id, ticket)
{
    public override ReadOnlySpan<byte> CodeIdentity => code.Identity;

    public override void WriteArgument(PayloadWriter writer, ItemCodecs codecs) => codecs.For<TArgument>().Write(writer, argument);

    public override async ValueTask<JobReply> RunAsync(CancellationToken cancellationToken)
    {
        if (Ticket?.TryBegin() == false)
            return new JobCanceled(Id);
        using CancellationTokenSource? either = Ticket is { Token.CanBeCanceled: true } ? CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, Ticket.Token) : null;
        CancellationToken token = either?.Token ?? cancellationToken;
        try
        {
            token.ThrowIfCancellationRequested();
            return new JobResult<TResult>(Id, await code.RunAsync(argument, token).ConfigureAwait(false));
        }
        catch (OperationCanceledException) when (token.IsCancellationRequested)
        {
            return new JobCanceled(Id);
        }
    }
}
