using System.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;

namespace Puma.Dataflow.Jobs;

/// <summary>Makes the code of jobs from the user's delegate. One for each kind of delegate; it travels by its identity, as the delegate does.</summary>
internal delegate JobCode JobKind(Delegate work);

/// <summary>What jobs call. Immutable and safe for any thread.</summary>
internal abstract class JobCode(JobKind kind, Delegate work)
{
    /// <summary>By which the same program finds the code in another process. Only for delegates that capture nothing.</summary>
    public byte[] Identity => field ??= Identify();

    /// <summary>Finds the code that an identity names.</summary>
    /// <exception cref="InvalidOperationException">The program on disk is not the one that the other process runs.</exception>
    /// <exception cref="ProtocolViolationException">The bytes are no identity.</exception>
    public static JobCode Resolve(ReadOnlyMemory<byte> identity)
    {
        var reader = new FieldReader(new ReadOnlySequence<byte>(identity));
        var kind = (JobKind)DelegateIdentity.ReadFrom(ref reader).Resolve();
        return kind(DelegateIdentity.ReadFrom(ref reader).Resolve());
    }

    /// <summary>Decodes the argument of a job.</summary>
    public abstract JobCall Read(long id, PayloadReader argument, ItemCodecs codecs);

    private byte[] Identify()
    {
        var writer = new FieldWriter();
        DelegateIdentity.Of(kind).WriteTo(writer);
        DelegateIdentity.Of(work).WriteTo(writer);
        return writer.Written.ToArray();
    }
}

/// <inheritdoc/>
internal sealed class JobCode<TArgument, TResult>(JobKind kind, Delegate work, Func<TArgument, CancellationToken, ValueTask<TResult>> run) : JobCode(kind, work)
{
    public static JobCode OfValue(Delegate work)
    {
        var call = (Func<TArgument, CancellationToken, TResult>)work;
        return new JobCode<TArgument, TResult>(OfValue, work, (argument, ct) => new ValueTask<TResult>(call(argument, ct)));
    }

    public static JobCode OfTask(Delegate work)
    {
        var call = (Func<TArgument, CancellationToken, Task<TResult>>)work;
        return new JobCode<TArgument, TResult>(OfTask, work, (argument, ct) => new ValueTask<TResult>(call(argument, ct)));
    }

    public static JobCode OfValueTask(Delegate work) =>
        new JobCode<TArgument, TResult>(OfValueTask, work, (Func<TArgument, CancellationToken, ValueTask<TResult>>)work);

    public ValueTask<TResult> RunAsync(TArgument argument, CancellationToken cancellationToken) => run(argument, cancellationToken);

    public override JobCall Read(long id, PayloadReader argument, ItemCodecs codecs) =>
        new JobCall<TArgument, TResult>(id, this, codecs.For<TArgument>().Read(argument));
}

/// <summary>The kinds of jobs that return nothing.</summary>
internal static class JobsWithoutResult<TArgument>
{
    public static JobCode OfAction(Delegate work)
    {
        var call = (Action<TArgument, CancellationToken>)work;
        return new JobCode<TArgument, NoResult>(OfAction, work, (argument, ct) =>
        {
            call(argument, ct);
            return default;
        });
    }

    public static JobCode OfTask(Delegate work)
    {
        var call = (Func<TArgument, CancellationToken, Task>)work;
        return new JobCode<TArgument, NoResult>(OfTask, work, (argument, ct) => AwaitAsync(new ValueTask(call(argument, ct))));
    }

    public static JobCode OfValueTask(Delegate work)
    {
        var call = (Func<TArgument, CancellationToken, ValueTask>)work;
        return new JobCode<TArgument, NoResult>(OfValueTask, work, (argument, ct) => AwaitAsync(call(argument, ct)));
    }

    private static async ValueTask<NoResult> AwaitAsync(ValueTask working)
    {
        await working.ConfigureAwait(false);
        return default;
    }
}
