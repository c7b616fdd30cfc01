namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>Adds up what arrives, so that a lost or a changed item shows. For one thread at a time.</summary>
internal sealed class Sum
{
    private long _count;

    public long Value { get; private set; }

    /// <summary>How many there were. Any thread.</summary>
    public long Count => Volatile.Read(ref _count);

    public void Add(int value) => Add((long)value);

    public void Add(long value)
    {
        Value += value;
        Volatile.Write(ref _count, _count + 1);
    }

    /// <summary>The sum of 0 to n - 1.</summary>
    public static long OfFirst(int n) => (long)n * (n - 1) / 2;
}
