using System.Buffers;
using System.Buffers.Binary;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Isolation.Codec;

/// <summary>
/// Gathers one encoded value: a head, and large blocks that are not copied until they are sent. Reused; one thread at a time.
/// Without blocks the payload is the head alone, else: count of blocks, their lengths, head, blocks.
/// </summary>
internal sealed class PayloadWriter : IBufferWriter<byte>
{
    private const int KeptCapacity = 256 * 1024;

    private readonly List<ReadOnlyMemory<byte>> _blocks = [];
    private ArrayBufferWriter<byte> _head = new(256);
    private long _blockBytes;

    public bool HasBlocks => _blocks.Count > 0;

    /// <summary>The encoded value without its blocks.</summary>
    public ReadOnlySpan<byte> Head => _head.WrittenSpan;

    public IReadOnlyList<ReadOnlyMemory<byte>> Blocks => _blocks;

    /// <summary>The length of what comes before the blocks in bytes.</summary>
    public int LeadLength => _head.WrittenCount + (HasBlocks ? sizeof(int) * (1 + _blocks.Count) : 0);

    /// <summary>The length of the whole payload in bytes.</summary>
    public long Length => LeadLength + _blockBytes;

    /// <summary>Makes it ready for another value, and forgets this one: its blocks are the item's own memory.</summary>
    public void Reset()
    {
        // One large value must not hold its memory for ever.
        if (_head.Capacity > KeptCapacity)
            _head = new ArrayBufferWriter<byte>(256);
        else
            _head.ResetWrittenCount();
        _blocks.Clear();
        _blockBytes = 0;
    }

    /// <summary>Adds a block that stays where it is until the payload is copied.</summary>
    /// <returns>Its index.</returns>
    public int AddBlock(ReadOnlyMemory<byte> block)
    {
        _blocks.Add(block);
        _blockBytes += block.Length;
        return _blocks.Count - 1;
    }

    /// <summary>Copies the blocks: what they were made of may be changed from here on.</summary>
    public void OwnBlocks()
    {
        for (int i = 0; i < _blocks.Count; i++)
            _blocks[i] = _blocks[i].ToArray();
    }

    /// <summary>Writes what comes before the blocks.</summary>
    public void WriteLead(Span<byte> target)
    {
        if (HasBlocks)
        {
            BinaryPrimitives.WriteInt32LittleEndian(target, _blocks.Count);
            foreach (ReadOnlyMemory<byte> block in _blocks)
                BinaryPrimitives.WriteInt32LittleEndian(target = target[sizeof(int)..], block.Length);
            target = target[sizeof(int)..];
        }

        _head.WrittenSpan.CopyTo(target);
    }

    /// <summary>Writes all of it.</summary>
    public void CopyTo(IBufferWriter<byte> target)
    {
        WriteLead(target.GetSpan(LeadLength));
        target.Advance(LeadLength);
        foreach (ReadOnlyMemory<byte> block in _blocks)
            target.Write(block.Span);
    }

    public void Advance(int count) => _head.Advance(count);

    public Memory<byte> GetMemory(int sizeHint = 0) => _head.GetMemory(sizeHint);

    public Span<byte> GetSpan(int sizeHint = 0) => _head.GetSpan(sizeHint);

    public static void WriteInt(IBufferWriter<byte> target, int value)
    {
        BinaryPrimitives.WriteInt32LittleEndian(target.GetSpan(4), value);
        target.Advance(4);
    }
}

/// <summary>Shows one encoded value. Believes no length. Reused; one thread at a time.</summary>
internal sealed class PayloadReader
{
    private readonly List<ReadOnlySequence<byte>> _blocks = [];
    private readonly List<SharedBuffer> _lent = [];
    private LongPayload? _long;

    // Whether there is something to forget; most short items leave nothing.
    private bool _isInUse;

    public ReadOnlySequence<byte> Head { get; private set; }

    /// <param name="payload">The encoded value.</param>
    /// <param name="hasBlocks">Whether it has blocks.</param>
    /// <param name="longPayload">The array of a long frame, in which it may be.</param>
    /// <exception cref="ItemCodecException">The lengths do not fit the payload.</exception>
    public void Reset(ReadOnlySequence<byte> payload, bool hasBlocks, LongPayload? longPayload = null)
    {
        _isInUse = true;
        _blocks.Clear();
        Head = payload;
        _long = longPayload;
        if (!hasBlocks)
            return;
        var reader = new SequenceReader<byte>(payload);
        if (!reader.TryReadLittleEndian(out int count) || count < 0 || count > reader.Remaining / 4)
            throw Corrupt("its count of blocks is impossible");
        long total = 0;
        var lengths = new int[count];
        for (int i = 0; i < count; i++)
        {
            reader.TryReadLittleEndian(out lengths[i]);
            if (lengths[i] < 0)
                throw Corrupt("a block has a negative length");
            total += lengths[i];
        }

        if (total > reader.Remaining)
            throw Corrupt("its blocks are longer than the payload");
        long at = payload.Length - total;
        Head = payload.Slice(reader.Consumed, at - reader.Consumed);
        foreach (int length in lengths)
        {
            _blocks.Add(payload.Slice(at, length));
            at += length;
        }
    }

    /// <summary>Leaves out what the head begins with.</summary>
    /// <exception cref="ItemCodecException">The head is shorter.</exception>
    public void Skip(int count) => Head = count <= Head.Length ? Head.Slice(count) : throw Corrupt("its head is too short");

    /// <exception cref="ItemCodecException">There is no such block.</exception>
    public ReadOnlySequence<byte> Block(int index) =>
        index >= 0 && index < _blocks.Count ? _blocks[index] : throw Corrupt($"it has no block {index}");

    /// <summary>Goes on behind what was read of the head.</summary>
    public void Skip(long count) => Head = Head.Slice(count);

    /// <summary>Makes a reader of what is left, on memory of its own.</summary>
    public PayloadReader Detach()
    {
        var detached = new PayloadReader { Head = Copy(Head), _isInUse = true };
        detached._blocks.AddRange(_blocks.Select(Copy));
        return detached;
    }

    /// <summary>Makes a pooled buffer that is released with the item.</summary>
    public SharedBuffer Lend(ReadOnlySequence<byte> content)
    {
        SharedBuffer buffer;
        if (_blocks.Count == 1 && content.Length == _blocks[0].Length && _long?.TryTake(content, out byte[]? array, out int offset) == true)
        {
            buffer = new SharedBuffer(array, offset, (int)content.Length);
        }
        else
        {
            buffer = SharedBuffer.Rent(checked((int)content.Length));
            content.CopyTo(buffer.Memory.Span);
        }

        _lent.Add(buffer);
        return buffer;
    }

    /// <summary>Releases the buffers of the item, and forgets its payload.</summary>
    public void Release()
    {
        foreach (SharedBuffer buffer in _lent)
            buffer.Dispose();
        Keep();
    }

    /// <summary>Leaves the buffers of the item to whoever has it now, and forgets its payload.</summary>
    public void Keep()
    {
        if (!_isInUse)
            return;
        _isInUse = false;
        _lent.Clear();
        _blocks.Clear();
        Head = default;
    }

    private static ReadOnlySequence<byte> Copy(ReadOnlySequence<byte> bytes) => new(bytes.ToArray());

    public static ItemCodecException Corrupt(string what) => new(typeof(byte[]), null, $"the received payload is corrupt ({what})") { IsMalformed = true };
}
