namespace Puma.Dataflow.Isolation;

/// <summary>
/// The last log records of a child, in memory that outlives it. What is written becomes visible by one store at the end, after what it
/// overwrites was taken out, so that a process that dies in between leaves the records before it whole.
/// </summary>
/// <remarks>One thread writes records at a time; it is read when the writer is gone.</remarks>
internal sealed unsafe class LogRing(byte* memory, int length)
{
    // Two counts of bytes since the beginning: of the oldest record that is whole, and of the end of the newest.
    private const int OldestAt = 0, EndAt = 8, DroppedAt = 16, AcceptedAt = 64, RecordsAt = 112;

    // Each record: its length, its number.
    private const int HeaderLength = 12;

    /// <summary>How many bytes of records it holds, each as long as <see cref="RoomFor"/> says.</summary>
    public int Capacity => length - RecordsAt;

    /// <summary>The longest record that is kept.</summary>
    public int MaxRecord => Capacity / 4;

    public static int RoomFor(int record) => HeaderLength + record;

    /// <summary>Counts a record of a level that was dropped. Any thread.</summary>
    public void CountDropped(int level) => Interlocked.Increment(ref Field(DroppedAt + (8 * level)));

    public long ReadDropped(int level) => Volatile.Read(ref Field(DroppedAt + (8 * level)));

    /// <summary>Notes how many records of a level were accepted since the beginning and not dropped later, whether they are here or had no room.</summary>
    public void NoteAccepted(int level, long total) => Volatile.Write(ref Field(AcceptedAt + (8 * level)), total);

    public long ReadAccepted(int level) => Volatile.Read(ref Field(AcceptedAt + (8 * level)));

    /// <returns>Where it begins, in bytes since the beginning.</returns>
    public long Add(long number, ReadOnlySpan<byte> record)
    {
        int needed = RoomFor(record.Length);
        long oldest = Field(OldestAt), end = Field(EndAt);
        while (end + needed - oldest > Capacity)
            oldest += HeaderLength + ReadInt(oldest);
        Volatile.Write(ref Field(OldestAt), oldest);
        Span<byte> header = stackalloc byte[HeaderLength];
        BitConverter.TryWriteBytes(header, record.Length);
        BitConverter.TryWriteBytes(header[4..], number);
        Write(end, header);
        Write(end + HeaderLength, record);
        Volatile.Write(ref Field(EndAt), end + needed);
        return end;
    }

    /// <summary>Takes the number of a record away, so that it is read no more. It must not have been overwritten.</summary>
    public void Forget(long begin) => Write(begin + 4, stackalloc byte[8]);

    /// <summary>Reads the records after a number, the oldest first. What cannot be right ends it: the child may have written anywhere.</summary>
    public IReadOnlyList<(long Number, byte[] Record)> ReadAfter(long number)
    {
        List<(long, byte[])> records = [];
        long at = Field(OldestAt), end = Field(EndAt);
        if (at < 0 || end < at || end - at > Capacity)
            return records;
        Span<byte> numberBytes = stackalloc byte[8];
        while (end - at >= HeaderLength)
        {
            int count = ReadInt(at);
            if (count < 0 || count > end - at - HeaderLength)
                break;
            Read(at + 4, numberBytes);
            long found = BitConverter.ToInt64(numberBytes);
            if (found > number)
            {
                var record = new byte[count];
                Read(at + HeaderLength, record);
                records.Add((found, record));
                number = found;
            }

            at += HeaderLength + count;
        }

        return records;
    }

    private int ReadInt(long at)
    {
        Span<byte> bytes = stackalloc byte[4];
        Read(at, bytes);
        return BitConverter.ToInt32(bytes);
    }

    private void Write(long at, ReadOnlySpan<byte> bytes)
    {
        int start = (int)(at % Capacity), first = Math.Min(bytes.Length, Capacity - start);
        bytes[..first].CopyTo(new Span<byte>(memory + RecordsAt + start, first));
        bytes[first..].CopyTo(new Span<byte>(memory + RecordsAt, bytes.Length - first));
    }

    private void Read(long at, Span<byte> bytes)
    {
        int start = (int)(at % Capacity), first = Math.Min(bytes.Length, Capacity - start);
        new ReadOnlySpan<byte>(memory + RecordsAt + start, first).CopyTo(bytes);
        new ReadOnlySpan<byte>(memory + RecordsAt, bytes.Length - first).CopyTo(bytes[first..]);
    }

    private ref long Field(int offset) => ref *(long*)(memory + offset);
}
