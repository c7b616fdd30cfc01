using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>Encoded log records that wait to be sent, bounded by their bytes. They leave in the order in which they came; when room is needed, the lowest levels go first. Not safe for several threads.</summary>
internal sealed class LogBacklog(int capacity)
{
    private readonly Queue<Entry>[] _byLevel = [.. Enumerable.Range(0, (int)LogLevel.None).Select(static _ => new Queue<Entry>())];
    private readonly int[] _bytesByLevel = new int[(int)LogLevel.None];
    private int _bytes;

    public bool IsEmpty => _bytes == 0;

    /// <summary>Takes a record in, if it has room or can make it by dropping records of lower levels.</summary>
    /// <param name="number">The record's number, which grows.</param>
    /// <param name="level">Its level.</param>
    /// <param name="record">Its bytes.</param>
    /// <param name="onDropped">Hears of each record that was dropped for it: its level and number.</param>
    public bool TryAdd(long number, LogLevel level, byte[] record, Action<LogLevel, long> onDropped)
    {
        // Nothing is dropped for a record that has no room even then. One that is longer than all the room has it alone.
        int kept = 0;
        foreach (int bytes in _bytesByLevel.AsSpan((int)level))
            kept += bytes;
        if (kept > 0 && kept + record.Length > capacity)
            return false;
        for (int lowest = 0; _bytes + record.Length > capacity && !IsEmpty;)
        {
            while (_byLevel[lowest].Count == 0)
                lowest++;
            onDropped((LogLevel)lowest, Remove(lowest));
        }

        _byLevel[(int)level].Enqueue(new Entry(number, record));
        _bytesByLevel[(int)level] += record.Length;
        _bytes += record.Length;
        return true;
    }

    /// <summary>Shows the oldest record.</summary>
    public bool TryPeek(out long number, out byte[] record)
    {
        (number, record) = (0, []);
        if (IsEmpty)
            return false;
        (number, record) = _byLevel[Oldest()].Peek();
        return true;
    }

    /// <summary>Takes the oldest record away.</summary>
    public void Dequeue() => Remove(Oldest());

    /// <returns>The number of what was removed.</returns>
    private long Remove(int level)
    {
        (long number, byte[] record) = _byLevel[level].Dequeue();
        _bytesByLevel[level] -= record.Length;
        _bytes -= record.Length;
        return number;
    }

    /// <summary>The level of the oldest record; -1 when there is none.</summary>
    private int Oldest()
    {
        int oldest = -1;
        for (int level = 0; level < _byLevel.Length; level++)
        {
            if (_byLevel[level].TryPeek(out Entry entry) && (oldest < 0 || entry.Number < _byLevel[oldest].Peek().Number))
                oldest = level;
        }

        return oldest;
    }

    private readonly record struct Entry(long Number, byte[] Record);
}
