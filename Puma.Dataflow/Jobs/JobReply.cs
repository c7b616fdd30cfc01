using Puma.Dataflow.Isolation.Codec;

namespace Puma.Dataflow.Jobs;

/// <summary>What is known of the end of a job, in the process in which it was.</summary>
internal enum JobEnd : byte
{
    /// <summary>It did not begin, or gave up, because it was cancelled.</summary>
    Canceled,

    Returned,

    /// <summary>It returned what cannot be carried.</summary>
    NotCarried,
}

/// <summary>How a job ended, when it threw nothing.</summary>
internal abstract class JobReply(long id)
{
    /// <summary>Which job.</summary>
    public long Id => id;

    public virtual JobEnd End => JobEnd.Returned;

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
    public override JobEnd End => JobEnd.Canceled;
}

/// <summary>A job returned in another process what cannot be carried from there.</summary>
internal sealed class UncarriedResult(long id, string? member, string reason) : JobReply(id)
{
    public override JobEnd End => JobEnd.NotCarried;

    public string? Member => member;

    public string Reason => reason;
}

/// <summary>The result of a job that returns none.</summary>
internal readonly record struct NoResult;
