using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation.Supervision;

namespace Puma.Dataflow.Stages;

/// <summary>Children without user code that an isolated stage keeps started, so that a restart need not start a process.</summary>
/// <remarks>Belongs to the stage's stream. Starts run beside it and touch nothing here; it is woken when one has ended, and when a child has.</remarks>
internal sealed class SpareChildren(ChildStage stage, ChildRoster roster, int count)
{
    /// <summary>After how many failures one after the other a place stays empty.</summary>
    private const int MostFailures = 5;

    /// <summary>A child that was spare for so long shows that another can be.</summary>
    private static readonly TimeSpan Proven = TimeSpan.FromSeconds(30);

    /// <summary>The wait before each start but the first. Also when the last one was taken: its user code starts now, and shall have the processors.</summary>
    private static readonly Backoff Pace = Backoff.Exponential(TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(30));

    private readonly Place[] _places = [.. Enumerable.Range(0, count).Select(static _ => new Place())];

    /// <summary>Takes a child that is ready, which is the caller's from then on; null when none is.</summary>
    public BareChild? TryTake()
    {
        if (Array.Find(_places, static p => p.Spare is { Body.IsEnding: false }) is not { } place)
            return null;
        BareChild? taken = place.Spare;
        (place.Spare, place.Failures) = (null, 0);
        Start(place, Pace.DelayAfter(1));
        return taken;
    }

    /// <summary>Starts the first ones, looks which have started, and replaces those that were lost.</summary>
    public async ValueTask TendAsync()
    {
        foreach (Place place in _places)
        {
            if (!place.HasBegun)
                Start(place, TimeSpan.Zero);
            if (place.Starting is { IsCompleted: true } starting)
                await TakeInAsync(place, starting).ConfigureAwait(false);
            if (place.Spare is { Body.Exited.IsCompleted: true } lost)
                await OnLostAsync(place, lost).ConfigureAwait(false);
        }
    }

    /// <summary>Ends all that are there. Called once and last, when starts are not wanted any more.</summary>
    public Task EndAsync() => Task.WhenAll(_places.Select(EndAsync));

    private void Start(Place place, TimeSpan delay)
    {
        place.HasBegun = true;
        place.Starting = roster.StartSpareAsync(delay);
        stage.Graph.Own(stage.WakeAfterAsync(place.Starting));
    }

    private async ValueTask TakeInAsync(Place place, Task<BareChild> starting)
    {
        place.Starting = null;
        try
        {
            place.Spare = await starting.ConfigureAwait(false);
            place.ReadySince = ChildStage.Clock.GetTimestamp();
            Log.SpareStarted(stage.Graph.Logger, stage.Name, place.Spare.Body.ProcessId);
        }
        catch (OperationCanceledException)
        {
            // It is not wanted any more.
        }
        catch (Exception error)
        {
            // The stage works without it, whatever is wrong.
            Replace(place, (error as ChildStartException)?.Exit.ProcessId ?? 0, ExceptionText.MessageOf(error));
        }
    }

    private async ValueTask OnLostAsync(Place place, BareChild lost)
    {
        place.Spare = null;
        roster.Retire(lost);
        if (ChildStage.Clock.GetElapsedTime(place.ReadySince) > Proven)
            place.Failures = 0;
        ChildExit exit = await lost.Body.Exited.ConfigureAwait(false);
        Replace(place, exit.ProcessId, exit.Description);
    }

    private void Replace(Place place, int processId, string why)
    {
        Log.SpareLost(stage.Graph.Logger, stage.Name, processId, why);
        if (++place.Failures < MostFailures)
            Start(place, Pace.DelayAfter(place.Failures));
        else
            Log.SpareGivenUp(stage.Graph.Logger, stage.Name, MostFailures, why);
    }

    private async Task EndAsync(Place place)
    {
        try
        {
            if (place.Starting is { } starting)
                place.Spare = await starting.ConfigureAwait(false);
        }
        catch (Exception error) when (error is OperationCanceledException or ChildStartException or IsolationNotSupportedException)
        {
            // It never started.
        }

        if (place.Spare is { } spare)
            await roster.DisposeAsync(spare).ConfigureAwait(false);
    }

    /// <summary>The place of one spare child: empty, with one that starts, or with one that waits.</summary>
    private sealed class Place
    {
        public bool HasBegun { get; set; }

        /// <summary>The start that is under way.</summary>
        public Task<BareChild>? Starting { get; set; }

        /// <summary>The child that waits.</summary>
        public BareChild? Spare { get; set; }

        /// <summary>Since when it does, on the system's clock.</summary>
        public long ReadySince { get; set; }

        /// <summary>How many did not start or were lost here, one after the other.</summary>
        public int Failures { get; set; }
    }
}
