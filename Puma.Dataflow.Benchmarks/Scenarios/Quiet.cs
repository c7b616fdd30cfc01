using Microsoft.Extensions.Logging.Abstractions;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>Pipelines that log nothing, as their peers do.</summary>
internal static class Quiet
{
    public static PipelineOptions Options { get; } = new() { LoggerFactory = NullLoggerFactory.Instance };

    public static PipelineOptions With(LinkKind links) => Options with { Links = links };
}
