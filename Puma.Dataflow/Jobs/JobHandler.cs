using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Jobs;

/// <summary>A worker: does one job after the other.</summary>
internal sealed class JobHandler : ItemHandler<JobCall, JobReply>
{
    public override bool EmitsLast => true;

    public override async ValueTask HandleAsync(JobCall item, Emitter<JobReply> output, CancellationToken cancellationToken)
    {
        JobReply reply = await item.RunAsync(cancellationToken).ConfigureAwait(false);

        // Without the token: that the job was cancelled is an answer, too.
        await output.EmitAsync(reply, CancellationToken.None).ConfigureAwait(false);
    }
}
