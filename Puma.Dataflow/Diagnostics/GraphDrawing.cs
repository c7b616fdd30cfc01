using System.Globalization;

namespace Puma.Dataflow.Diagnostics;

/// <summary>A picture of a pipeline or a run, before it is put into words of a graph language.</summary>
internal sealed record GraphDrawing(IReadOnlyList<DrawnStage> Stages, IReadOnlyList<DrawnLink> Links)
{
    private readonly Dictionary<string, string> _ids = Stages.Select(static (s, i) => (s.Name, Id: string.Create(CultureInfo.InvariantCulture, $"s{i}"))).ToDictionary(static s => s.Name, static s => s.Id);

    /// <summary>What stands for a stage where a language wants an identifier.</summary>
    public string IdOf(string stage) => _ids[stage];

    /// <summary>Whether the pipeline begins or ends with a stage.</summary>
    public bool IsOuter(DrawnStage stage) => Links.All(l => l.From != stage.Name) || Links.All(l => l.To != stage.Name);
}

/// <param name="Name">Its name, unique.</param>
/// <param name="Details">What else is said of it, line by line.</param>
/// <param name="IsElsewhere">Whether it lives in other processes, or behind what would lead there.</param>
/// <param name="Look">How it is doing.</param>
internal sealed record DrawnStage(string Name, IReadOnlyList<string> Details, bool IsElsewhere, StageLook Look = StageLook.Plain)
{
    /// <summary>All that is said of it, line by line.</summary>
    public IEnumerable<string> Lines => Details.Prepend(Name);
}

/// <param name="From">The writing stage.</param>
/// <param name="To">The reading stage.</param>
/// <param name="Label">What is said of it.</param>
/// <param name="IsDashed">Whether it carries dead letters.</param>
internal sealed record DrawnLink(string From, string To, string Label, bool IsDashed = false);

/// <summary>How a stage is doing, as far as a picture shows it by colour.</summary>
internal enum StageLook
{
    Plain,
    Blocked,
    Completed,
    Canceled,
    Faulted,
}

/// <summary>The colours of the looks.</summary>
internal static class StageColors
{
    public static string Of(StageLook look) => look switch
    {
        StageLook.Blocked => "#ffe8a3",
        StageLook.Completed => "#d5efd5",
        StageLook.Canceled => "#dddddd",
        StageLook.Faulted => "#f5c2c2",
        _ => "#ffffff",
    };
}
