using Puma.Dataflow.Buffers;

namespace Puma.Dataflow.Lifecycle;

/// <summary>Adds up the numbers of a stage, which its counters and its links have. Any thread.</summary>
internal static class StageReporter
{
    public static StageReport Report(StageNode stage)
    {
        // Settled before received before accepted, so that a running stage never shows more settled than accepted; so with what was repeated.
        StageCounters fates = stage.Counters;
        long repeated = fates.Repeated;
        long delivered = fates.Delivered, skipped = fates.Skipped, deadLettered = fates.DeadLettered, failed = fates.Failed, inWork = fates.Discarded;
        long settled = delivered + skipped + deadLettered + failed + inWork;
        long discarded = inWork, received = 0, accepted = 0, queued = 0, slots = 0, maxSlots = 0, capacity = 0;

        // A writer that is about to be refused may have taken a slot of a stage that has ended.
        bool hasEnded = stage.Activity == StageActivity.Ended && !stage.IsAbandoned;
        foreach (Link input in stage.Inputs)
        {
            LinkCounts counts = input.Counts;
            discarded += counts.Discarded - counts.Refused;
            received += counts.Received;
            accepted += counts.Accepted;
            int waiting = input.Queued;
            int held = hasEnded ? 0 : input.SlotsHeld;
            queued += Math.Min(waiting, held);
            slots += held;
            maxSlots += Math.Max(input.MaxSlotsHeld, held);
            capacity += input.Capacity;
        }

        // The two were read one after another, and the stage has gone on meanwhile: no more are in work than have a slot. What was queued
        // was read before the slots, so that what has come since does not hide an item in work.
        long inFlight = stage.IsAbandoned ? 0 : Math.Max(0, received - settled);
        if (stage.KeepsLedger)
            inFlight = Math.Min(inFlight, slots - queued);
        return new StageReport
        {
            Name = stage.Name,
            Kind = stage.Kind,
            State = stage.State,
            EndReason = stage.EndReason,
            Activity = stage.Activity,
            WaitsFor = stage.WaitsFor?.To,
            Accepted = accepted,
            Delivered = stage.KeepsLedger ? delivered : accepted - discarded,
            Skipped = skipped,
            DeadLettered = deadLettered,
            Failed = failed,
            Discarded = discarded,
            Abandoned = stage.IsAbandoned ? Math.Max(0, received - settled) : 0,
            Emitted = stage.Links.Emitted,
            Restarts = stage.Restarts,
            Repeated = repeated,
            Queued = queued,
            InFlight = inFlight,
            Capacity = capacity,
            SlotsHeld = slots,
            MaxSlotsHeld = maxSlots,
            OldestItemAge = inFlight > 0 ? stage.Graph.Time.GetElapsedTime(stage.WorkingSince) : TimeSpan.Zero,
            Times = stage.Times,
            KeepsLedger = stage.KeepsLedger,
        };
    }
}
