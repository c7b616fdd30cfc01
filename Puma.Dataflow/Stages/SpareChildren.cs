using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation.Supervision;

namespace Puma.Dataflow.Stages;

/// <summary>Children without user code that an isolated stage keeps started, so that a restart need not start a process.</summary>
/// <remarks>Belongs to the stage's stream, but for <see cref="TryTake"/>. Starts run beside it and touch nothing here; it is woken when one has ended, and when a child has.</remarks>
internal sealed class SpareChildren(ChildStage stage, ChildRoster roster, int count)
{
    /// <summary>After so many failures one after the other it is told that there are no spare children.</summary>
    private const int ManyFailures = 5;

    /// <summary>A child that was spare for so long shows that another can be.</summary>
    private static readonly TimeSpan Proven = TimeSpan.FromSeconds(30);

    /// <summary>The wait before each start, also when the last one was taken: others start now, and shall have the processors.</summary>
    private static readonly Backoff Pace = Backoff.Exponential(TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(30));

    private readonly Place[] _places = [.. Enumerable.Range(0, count).Select(static _ => new Place())];

    /// <summary>Takes a child that is ready, which is the caller's from then on; null when none is. Any thread.</summary>
    public BareChild? TryTake() => _places.Select(static p => p.TryTake(static s => !s.Body.IsEnding)).FirstOrDefault(static s => s is not null);

    /// <summary>Starts those that are missing, looks which have started, and replaces those that were lost.</summary>
    public async ValueTask TendAsync()
    {
        foreach (Place place in _places)
        {
            if (place.Starting is { IsCompleted: true, IsCanceled: false } starting)
                await TakeInAsync(place, starting).ConfigureAwait(false);
            if (place.TryTake(static s => s.Body.Exited.IsCompleted) is { } lost)
                await OnLostAsync(place, lost).ConfigureAwait(false);
            if (place.IsEmpty)
                Start(place, failures: 0);
        }
    }

    /// <summary>Ends all that are there. Called once and last, when starts are not wanted any more.</summary>
    public Task EndAsync() => Task.WhenAll(_places.Select(EndAsync));

    private void Start(Place place, int failures)
    {
        place.Failures = failures;
        place.Starting = roster.StartSpareAsync(Pace.DelayAfter(Math.Max(1, failures)));
        stage.Graph.Own(stage.WakeAfterAsync(place.Starting));
    }

    private async ValueTask TakeInAsync(Place place, Task<BareChild> starting)
    {
        place.Starting = null;
        try
        {
            BareChild spare = await starting.ConfigureAwait(false);
            place.ReadySince = ChildStage.Clock.GetTimestamp();
            Log.SpareStarted(stage.Graph.Logger, stage.Name, spare.Body.ProcessId);
            place.Put(spare);
        }
        catch (Exception error)
        {
            // The stage works without it, whatever is wrong.
            Replace(place, (error as ChildStartException)?.Exit.ProcessId ?? 0, ExceptionText.MessageOf(error));
        }
    }

    private async ValueTask OnLostAsync(Place place, BareChild lost)
    {
        roster.Retire(lost);
        if (ChildStage.Clock.GetElapsedTime(place.ReadySince) > Proven)
            place.Failures = 0;
        ChildExit exit = await lost.Body.Exited.ConfigureAwait(false);
        Replace(place, exit.ProcessId, exit.Description);
    }

    private void Replace(Place place, int processId, string why)
    {
        int failures = place.Failures + 1;
        if (failures < ManyFailures)
            Log.SpareLost(stage.Graph.Logger, stage.Name, processId, why);
        else if (failures == ManyFailures)
            Log.SparesFail(stage.Graph.Logger, stage.Name, ManyFailures, why);
        Start(place, failures);
    }

    private async Task EndAsync(Place place)
    {
        BareChild? spare = place.TryTake(static _ => true);
        if (place.Starting is { } starting)
        {
            // What went wrong with it is of no use to anybody now.
            await ((Task)starting).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (starting.IsCompletedSuccessfully)
                spare = await starting.ConfigureAwait(false);
        }

        if (spare is not null)
            await roster.DisposeAsync(spare).ConfigureAwait(false);
    }

    /// <summary>The place of one spare child: empty, with one that starts, or with one that waits.</summary>
    private sealed class Place
    {
        // Put by the stream, taken by an exchange.
        private BareChild? _spare;

        /// <summary>The start that is under way. One that was cancelled stays here: none is wanted any more.</summary>
        public Task<BareChild>? Starting { get; set; }

        /// <summary>Since when a child waits, on the system's clock.</summary>
        public long ReadySince { get; set; }

        /// <summary>How many did not start or were lost here, one after the other.</summary>
        public int Failures { get; set; }

        public bool IsEmpty => Starting is null && Volatile.Read(ref _spare) is null;

        public void Put(BareChild spare) => Volatile.Write(ref _spare, spare);

        /// <summary>Takes the child that waits, if it is as wanted. Any thread.</summary>
        public BareChild? TryTake(Predicate<BareChild> isWanted) =>
            Volatile.Read(ref _spare) is { } spare && isWanted(spare) && Interlocked.CompareExchange(ref _spare, null, spare) == spare ? spare : null;
    }
}
