using Puma.Dataflow.Isolation.Codec;

namespace Puma.Dataflow.Jobs;

/// <summary>How a job ended, when it did not fail.</summary>
internal abstract class JobReply(long id)
{
    /// <summary>Which job.</summary>
    public long Id => id;

    /// <summary>Whether there is a result.</summary>
    public virtual bool HasResult => true;

    /// <exception cref="ItemCodecException">The result cannot be carried.</exception>
    public virtual void WriteResult(PayloadWriter writer, ItemCodecs codecs) { }
}

/// <summary>What a job returned, in the process in which it ran.</summary>
internal sealed class JobResult<TResult>(long id, TResult value) : JobReply(id)
{
    public TResult Value => value;

    public override void WriteResult(PayloadWriter writer, ItemCodecs codecs) => codecs.For<TResult>().Write(writer, value);
}

/// <summary>What a job returned in another process. Only its caller knows the type.</summary>
internal sealed class EncodedResult(long id, PayloadReader payload) : JobReply(id)
{
    public PayloadReader Payload => payload;
}

/// <summary>A job did not begin, or gave up, because it was cancelled.</summary>
internal sealed class JobCanceled(long id) : JobReply(id)
{
    public override bool HasResult => false;
}

/// <summary>The result of a job that returns none.</summary>
internal readonly record struct NoResult;
