using System.Diagnostics.Metrics;
using System.Numerics;

namespace Puma.Dataflow.Diagnostics;

/// <summary>One instrument of the meter.</summary>
internal abstract class RunInstrument
{
    /// <summary>Keeps what a run that has just ended adds to the totals. The caller holds the meter's gate.</summary>
    public abstract void Keep(IMeteredRun run);
}

/// <summary>Sums up one number over all runs with the same tags: those that live, and for a total also those that have ended.</summary>
/// <param name="gate">The meter's gate.</param>
/// <param name="live">The runs that have not ended; guarded by <paramref name="gate"/>.</param>
/// <param name="tags">The tags of one part.</param>
/// <param name="reports">The parts of a run: its stages, its links, or the run itself.</param>
/// <param name="read">The number of one part.</param>
/// <param name="isTotal">Whether the sum only rises; else it is what there is at the moment.</param>
internal sealed class RunSum<TReport, TValue>(
    Lock gate, IReadOnlySet<IMeteredRun> live, Func<IMeteredRun, TReport, RunTags> tags, Func<IMeteredRun, IReadOnlyList<TReport>> reports, Func<TReport, TValue> read, bool isTotal)
    : RunInstrument
    where TValue : struct, INumber<TValue>
{
    // Guarded by the gate. What ended runs leave: their part of a total; of anything else a zero, so that the number is seen to fall.
    private readonly Dictionary<RunTags, TValue> _ended = [];

    // Guarded by the gate. Counters of a live run are read one after another, so that a difference of two may fall by one for a moment; a total must not.
    private readonly Dictionary<RunTags, TValue> _shown = [];

    /// <summary>Set once, before anybody observes.</summary>
    public Instrument Instrument { get; set; } = null!;

    public override void Keep(IMeteredRun run)
    {
        // A total that was shown goes on for whoever listens next.
        if (Instrument.Enabled || _shown.Count > 0)
            AddTo(_ended, run, isTotal ? read : static _ => TValue.Zero);
    }

    /// <summary>The sums now. Made whole before any of them is handed out: a listener must not run inside of the gate.</summary>
    public IEnumerable<Measurement<TValue>> Observe()
    {
        Dictionary<RunTags, TValue> sums;
        IMeteredRun[] runs;
        lock (gate)
            (sums, runs) = (new(_ended), [.. live]);

        // A run that ends meanwhile is counted here, and not among those that have ended.
        foreach (IMeteredRun run in runs)
            AddTo(sums, run, read);
        lock (gate)
            return [.. sums.Select(sum => new Measurement<TValue>(isTotal ? HighestLocked(sum.Key, sum.Value) : sum.Value, sum.Key.ToArray()))];
    }

    private TValue HighestLocked(RunTags key, TValue value) => _shown[key] = TValue.Max(value, _shown.GetValueOrDefault(key));

    private void AddTo(Dictionary<RunTags, TValue> sums, IMeteredRun run, Func<TReport, TValue> number)
    {
        foreach (TReport report in reports(run))
        {
            RunTags key = tags(run, report);
            sums[key] = sums.GetValueOrDefault(key) + number(report);
        }
    }
}
