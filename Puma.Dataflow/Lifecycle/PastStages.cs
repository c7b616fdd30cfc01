using System.Collections.Immutable;

namespace Puma.Dataflow.Lifecycle;

/// <summary>
/// The numbers of stages and links of branches that are over, whose names others have now: a branch that is attached again under the same
/// names goes on counting where the earlier one left off, so that nothing is lost from the report and the report does not grow. Immutable.
/// </summary>
internal sealed class PastStages
{
    public static readonly PastStages None = new([], []);

    private readonly ImmutableDictionary<string, StageReport> _stages;
    private readonly ImmutableDictionary<(string From, string To), LinkReport> _links;

    private PastStages(IEnumerable<KeyValuePair<string, StageReport>> stages, IEnumerable<KeyValuePair<(string From, string To), LinkReport>> links) =>
        (_stages, _links) = (stages.ToImmutableDictionary(), links.ToImmutableDictionary());

    /// <summary>With the last numbers of one more stage that has ended.</summary>
    public PastStages With(StageReport stage, IEnumerable<LinkReport> inputs)
    {
        ImmutableDictionary<(string From, string To), LinkReport> links = _links;
        foreach (LinkReport link in inputs)
            links = links.SetItem((link.From, link.To), AddTo(link, links.GetValueOrDefault((link.From, link.To))));
        return new PastStages(_stages.SetItem(stage.Name, AddTo(stage, _stages.GetValueOrDefault(stage.Name))), links);
    }

    /// <summary>The numbers of the stages that there are now, with those of the ones before them; then those whose names nobody has now.</summary>
    public IEnumerable<StageReport> AddTo(IReadOnlyList<StageReport> now)
    {
        if (_stages.IsEmpty)
            return now;
        HashSet<string> names = [.. now.Select(static s => s.Name)];
        return now.Select(s => AddTo(s, _stages.GetValueOrDefault(s.Name)))
            .Concat(_stages.Where(s => !names.Contains(s.Key)).Select(static s => s.Value));
    }

    /// <summary>The numbers of the links in the same way.</summary>
    public IEnumerable<LinkReport> AddTo(IReadOnlyList<LinkReport> now)
    {
        if (_links.IsEmpty)
            return now;
        HashSet<(string From, string To)> names = [.. now.Select(static l => (l.From, l.To))];
        return now.Select(l => AddTo(l, _links.GetValueOrDefault((l.From, l.To))))
            .Concat(_links.Where(l => !names.Contains(l.Key)).Select(static l => l.Value));
    }

    private static StageReport AddTo(StageReport now, StageReport? past) => past is null ? now : now with
    {
        Accepted = now.Accepted + past.Accepted,
        Delivered = now.Delivered + past.Delivered,
        Skipped = now.Skipped + past.Skipped,
        DeadLettered = now.DeadLettered + past.DeadLettered,
        Failed = now.Failed + past.Failed,
        Discarded = now.Discarded + past.Discarded,
        Abandoned = now.Abandoned + past.Abandoned,
        Emitted = now.Emitted + past.Emitted,
        Restarts = now.Restarts + past.Restarts,
        Repeated = now.Repeated + past.Repeated,
        Times = StageTimes.Sum(now.Times, past.Times),
        KeepsLedger = now.KeepsLedger && past.KeepsLedger,
    };

    private static LinkReport AddTo(LinkReport now, LinkReport? past) => past is null ? now : now with
    {
        Sent = now.Sent + past.Sent,
        Received = now.Received + past.Received,
        Discarded = now.Discarded + past.Discarded,
        Dropped = now.Dropped + past.Dropped,
    };
}
