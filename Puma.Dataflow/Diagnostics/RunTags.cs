namespace Puma.Dataflow.Diagnostics;

/// <summary>What a measurement is tagged with: the pipeline, and up to two tags more.</summary>
internal readonly record struct RunTags(string Pipeline, (string Name, string Value)? First = null, (string Name, string Value)? Second = null)
{
    public KeyValuePair<string, object?>[] ToArray() =>
        [new(TagNames.Pipeline, Pipeline), .. First is { } first ? (KeyValuePair<string, object?>[])[new(first.Name, first.Value)] : [], .. Second is { } second ? (KeyValuePair<string, object?>[])[new(second.Name, second.Value)] : []];
}

/// <summary>The names of the tags of measurements and activities; docs/monitoring.md lists them.</summary>
internal static class TagNames
{
    public const string Pipeline = "puma.pipeline";
    public const string Stage = "puma.stage";
    public const string Kind = "puma.kind";
    public const string From = "puma.link.from";
    public const string To = "puma.link.to";
    public const string Outcome = "puma.outcome";
    public const string EndReason = "puma.end_reason";
    public const string Items = "puma.items.";
    public const string Restarts = "puma.restarts";
    public const string ErrorType = "error.type";
}
