using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>Encoded log records that wait to be sent, bounded by their bytes. They leave in the order in which they came; when room is needed, the lowest levels go first. Not safe for several threads.</summary>
internal sealed class LogBacklog(int capacity)
{
    private readonly Queue<Entry>[] _byLevel = [.. Enumerable.Range(0, (int)LogLevel.None).Select(static _ => new Queue<Entry>())];
    private int _bytes;

    public bool IsEmpty => _bytes == 0;

    /// <summary>Takes a record in, if it has room or can make it by dropping records of lower levels.</summary>
    /// <param name="number">The record's number, which grows.</param>
    /// <param name="level">Its level.</param>
    /// <param name="record">Its bytes.</param>
    /// <param name="dropped">Counts what was dropped, by level.</param>
    public bool TryAdd(long number, LogLevel level, byte[] record, long[] dropped)
    {
        while (_bytes + record.Length > capacity && !IsEmpty)
        {
            int lowest = Array.FindIndex(_byLevel, static q => q.Count > 0);
            if (lowest >= (int)level)
                return false;
            _bytes -= _byLevel[lowest].Dequeue().Record.Length;
            dropped[lowest]++;
        }

        _byLevel[(int)level].Enqueue(new Entry(number, record));
        _bytes += record.Length;
        return true;
    }

    /// <summary>Shows the oldest record.</summary>
    public bool TryPeek(out long number, out byte[] record)
    {
        (number, record) = (0, []);
        if (Oldest() is not { } queue)
            return false;
        (number, record) = queue.Peek();
        return true;
    }

    /// <summary>Takes the oldest record away.</summary>
    public void Dequeue() => _bytes -= Oldest()!.Dequeue().Record.Length;

    private Queue<Entry>? Oldest()
    {
        Queue<Entry>? oldest = null;
        foreach (Queue<Entry> queue in _byLevel)
        {
            if (queue.TryPeek(out Entry entry) && (oldest is null || entry.Number < oldest.Peek().Number))
                oldest = queue;
        }

        return oldest;
    }

    private readonly record struct Entry(long Number, byte[] Record);
}
