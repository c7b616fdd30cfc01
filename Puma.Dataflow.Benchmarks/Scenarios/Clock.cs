using System.Diagnostics;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>
/// The time and the memory that one run takes. They count from where the clock was made, or from where the subject says that it begins:
/// what it needs once, for example a process, is then no matter of the rate.
/// </summary>
internal sealed class Clock
{
    private long _begin;
    private long _bytes;
    private int _unmeasured;
    private double? _nanosecondsPerItem;

    public Clock() => Begin();

    /// <summary>Counts from here on.</summary>
    /// <param name="unmeasured">So many items have arrived already, and do not count.</param>
    public void Begin(int unmeasured = 0)
    {
        _unmeasured = unmeasured;
        _bytes = GC.GetTotalAllocatedBytes(precise: true);
        _begin = Stopwatch.GetTimestamp();
    }

    /// <summary>Says what one item took, where that is not the time of all divided by their number.</summary>
    public void Tell(double nanosecondsPerItem) => _nanosecondsPerItem = nanosecondsPerItem;

    /// <returns>The nanoseconds and the bytes of one item of so many.</returns>
    public (double Nanoseconds, double Bytes) Read(int items)
    {
        items -= _unmeasured;
        double nanoseconds = _nanosecondsPerItem ?? (Stopwatch.GetElapsedTime(_begin).TotalNanoseconds / items);
        return (nanoseconds, (double)(GC.GetTotalAllocatedBytes(precise: true) - _bytes) / items);
    }
}
