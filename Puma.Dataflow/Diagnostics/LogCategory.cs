namespace Puma.Dataflow.Diagnostics;

/// <summary>The log categories: the library's own events of a pipeline, and those of the user code in a stage.</summary>
internal static class LogCategory
{
    private const string Root = "Puma.Dataflow";

    public static string Of(string pipeline) => $"{Root}.{pipeline}";

    public static string Of(string pipeline, string stage) => $"Runnables.{pipeline}.{stage}";
}
