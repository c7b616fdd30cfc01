using System.Globalization;

namespace Puma.Dataflow.Lifecycle;

/// <summary>Tells who waits for whom, from the numbers of a run.</summary>
internal sealed class WaitForChain
{
    private readonly IReadOnlyList<StageReport> _stages;
    private readonly IReadOnlyList<LinkReport> _links;
    private readonly List<string> _steps = [];
    private readonly HashSet<string> _told = [];

    private WaitForChain(IReadOnlyList<StageReport> stages, IReadOnlyList<LinkReport> links) => (_stages, _links) = (stages, links);

    /// <summary>One step for each stage that is held up and for each that it waits for, in this order; no stage twice.</summary>
    /// <param name="stages">The stages.</param>
    /// <param name="links">The links between them.</param>
    /// <param name="patience">How long the same work may take before its stage counts as held up; for zero, whoever holds an item does. Infinite for as long as it takes.</param>
    public static IReadOnlyList<string> Of(IReadOnlyList<StageReport> stages, IReadOnlyList<LinkReport> links, TimeSpan patience)
    {
        var chain = new WaitForChain(stages, links);
        foreach (StageReport stage in stages.Where(s => chain.IsHeldUp(s, patience)))
            chain.Follow(stage, []);
        return chain._steps;
    }

    private bool IsHeldUp(StageReport stage, TimeSpan patience) => stage.Activity switch
    {
        StageActivity.Ended => false,
        StageActivity.WaitingForOutput or StageActivity.WaitingForRetry => true,
        _ when stage.SlotsHeld > 0 && patience == TimeSpan.Zero => true,
        StageActivity.WaitingForForeignCode => stage.SlotsHeld > 0,
        StageActivity.WaitingForInput => stage.SlotsHeld > 0 && Awaited(stage).Count > 0,
        StageActivity.Starting => IsBeyond(stage.Times.Starting, patience),
        StageActivity.Ending => IsBeyond(stage.Times.Ending, patience),
        _ => stage.InFlight > 0 && IsBeyond(stage.OldestItemAge, patience),
    };

    private static bool IsBeyond(TimeSpan time, TimeSpan patience) => patience != Timeout.InfiniteTimeSpan && time >= patience;

    /// <param name="stage">The next stage of the chain.</param>
    /// <param name="path">The stages that wait for it, one for another.</param>
    private void Follow(StageReport stage, HashSet<string> path)
    {
        if (!_told.Add(stage.Name))
            return;
        path.Add(stage.Name);
        IReadOnlyList<string> next = stage.Activity switch
        {
            StageActivity.WaitingForOutput when stage.WaitsFor is { } reader => [reader],
            StageActivity.WaitingForInput => Awaited(stage),
            _ => [],
        };
        string slots = stage.SlotsHeld > 0 ? string.Create(CultureInfo.InvariantCulture, $" ({stage.SlotsHeld} of {stage.Capacity} slots held)") : "";
        string circle = next.Any(path.Contains) ? ", which closes a circle" : "";
        _steps.Add($"'{stage.Name}' {Wait(stage, next)}{slots}{circle}");
        foreach (StageReport awaited in _stages.Where(s => next.Contains(s.Name)))
            Follow(awaited, path);
        path.Remove(stage.Name);
    }

    private static string Wait(StageReport stage, IReadOnlyList<string> next) => stage.Activity switch
    {
        StageActivity.WaitingForInput when next.Count > 0 => $"waits for items of {string.Join(" and ", next.Select(static n => $"'{n}'"))}",
        _ when stage.Awaited() is { } awaited => $"waits for {awaited}",
        StageActivity.Starting => "is starting",
        StageActivity.Ending => "is in OnEndAsync",
        StageActivity.Ended => "has ended",
        _ when stage.InFlight > 0 => string.Create(CultureInfo.InvariantCulture, $"has {stage.InFlight} {(stage.InFlight == 1 ? "item" : "items")} in work since {stage.OldestItemAge.TotalSeconds:0.#} s"),
        _ => "is at work",
    };

    /// <summary>Whose items a stage waits for: of several inputs those without an item, because a join holds one that waits for its partner.</summary>
    private List<string> Awaited(StageReport stage)
    {
        List<LinkReport> open = [.. _links.Where(l => l.To == stage.Name && l.Queued == 0 && _stages.Any(s => s.Name == l.From && s.Activity != StageActivity.Ended))];
        List<LinkReport> empty = [.. open.Where(static l => l.SlotsHeld == 0)];
        return [.. (empty.Count > 0 ? empty : open).Select(static l => l.From).Distinct()];
    }
}
