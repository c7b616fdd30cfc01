using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using Puma.Dataflow.Isolation.Codec;

namespace Puma.Dataflow.Jobs;

/// <summary>Carries a job to a child: its id, the identity of its code, and the argument as its own type is carried.</summary>
internal sealed class JobCallCodec(ItemCodecs codecs) : ItemCodec<JobCall>
{
    private readonly ConcurrentDictionary<ReadOnlyMemory<byte>, JobCode> _known = new(new SameBytes());

    /// <exception cref="OperationCanceledException">Its caller cancelled it before, so no worker must have it.</exception>
    public override void Write(PayloadWriter writer, JobCall item)
    {
        if (item.Ticket?.TryBegin() == false)
            throw new OperationCanceledException("The job was cancelled before a worker had it.");
        BinaryPrimitives.WriteInt64LittleEndian(writer.GetSpan(sizeof(long)), item.Id);
        writer.Advance(sizeof(long));
        ReadOnlySpan<byte> code = item.CodeIdentity;
        PayloadWriter.WriteInt(writer, code.Length);
        writer.Write(code);
        item.WriteArgument(writer, codecs);
    }

    public override JobCall Read(PayloadReader reader)
    {
        var head = new SequenceReader<byte>(reader.Head);
        if (!head.TryReadLittleEndian(out long id) || !head.TryReadLittleEndian(out int length) || length < 0 || length > head.Remaining)
            throw PayloadReader.Corrupt("a job lacks its beginning");
        byte[] identity = head.UnreadSequence.Slice(0, length).ToArray();
        reader.Skip(head.Consumed + length);
        return _known.GetOrAdd(identity, JobCode.Resolve).Read(id, reader, codecs);
    }

    private sealed class SameBytes : IEqualityComparer<ReadOnlyMemory<byte>>
    {
        public bool Equals(ReadOnlyMemory<byte> x, ReadOnlyMemory<byte> y) => x.Span.SequenceEqual(y.Span);

        public int GetHashCode(ReadOnlyMemory<byte> obj)
        {
            var hash = default(HashCode);
            hash.AddBytes(obj.Span);
            return hash.ToHashCode();
        }
    }
}

/// <summary>Carries the answer to a job from a child. The result stays encoded until its caller, who knows the type, takes it.</summary>
internal sealed class JobReplyCodec(ItemCodecs codecs) : ItemCodec<JobReply>
{
    public override void Write(PayloadWriter writer, JobReply item)
    {
        WriteHead(writer, item.Id, item.End);
        try
        {
            item.WriteResult(writer, codecs);
            if (writer.Length > codecs.MaxPayload)
                throw new ItemCodecException(typeof(JobReply), null, $"its encoded form has {writer.Length} bytes; at most {codecs.MaxPayload} can travel (MaxItemSize)");
        }
        catch (ItemCodecException error)
        {
            // The job has run, and its caller is to know that.
            writer.Reset();
            WriteHead(writer, item.Id, JobEnd.NotCarried);
            TextCodec.WriteText(writer, error.Member);
            TextCodec.WriteText(writer, error.Reason);
        }
    }

    private static void WriteHead(PayloadWriter writer, long id, JobEnd end)
    {
        Span<byte> head = writer.GetSpan(sizeof(long) + 1);
        BinaryPrimitives.WriteInt64LittleEndian(head, id);
        head[sizeof(long)] = (byte)end;
        writer.Advance(sizeof(long) + 1);
    }

    public override JobReply Read(PayloadReader reader)
    {
        var head = new SequenceReader<byte>(reader.Head);
        if (!head.TryReadLittleEndian(out long id) || !head.TryRead(out byte end))
            throw PayloadReader.Corrupt("the answer to a job lacks its beginning");
        switch ((JobEnd)end)
        {
            case JobEnd.Canceled:
                return new JobCanceled(id);
            case JobEnd.NotCarried:
                return new UncarriedResult(id, TextCodec.ReadText(ref head), TextCodec.ReadText(ref head) ?? throw PayloadReader.Corrupt("the answer to a job lacks its reason"));
            case JobEnd.Returned:
                reader.Skip(head.Consumed);
                return new EncodedResult(id, reader.Detach());
            default:
                throw PayloadReader.Corrupt($"a job cannot end in the way {end}");
        }
    }
}
