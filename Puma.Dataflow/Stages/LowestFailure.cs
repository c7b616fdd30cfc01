namespace Puma.Dataflow.Stages;

/// <summary>The lowest item of a stage that has failed for good: what comes after it is not started any more. Any thread.</summary>
internal sealed class LowestFailure
{
    private long _number = long.MaxValue;

    /// <summary>Its number; the highest number while none has failed.</summary>
    public long Number => Volatile.Read(ref _number);

    public bool IsSet => Number != long.MaxValue;

    /// <summary>Says that an item has failed for good.</summary>
    public void Note(long number)
    {
        for (long lowest = Number; number < lowest;)
        {
            long seen = Interlocked.CompareExchange(ref _number, number, lowest);
            if (seen == lowest)
                return;
            lowest = seen;
        }
    }
}
