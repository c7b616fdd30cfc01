using System.Security.Cryptography;
using Puma.Dataflow;

namespace Snippets;

#region readme-ports
public sealed class Aligner : PortRunnable
{
    private double? _position;

    public Aligner()
    {
        Readings = new(OnReadingAsync);
        Positions = new(OnPositionAsync);
    }

    public Input<Reading> Readings { get; }
    public Input<double> Positions { get; }
    public Output<Sample> Samples { get; } = new();
    public Output<string> Warnings { get; } = new();

    private ValueTask OnReadingAsync(Reading reading, CancellationToken ct) => _position is { } position
        ? Samples.EmitAsync(new Sample(position, reading.Value), ct)
        : Warnings.EmitAsync($"no position yet for {reading.Value}", ct);

    private ValueTask OnPositionAsync(double position, CancellationToken ct)
    {
        _position = position;
        return default;
    }
}
#endregion

public sealed record Reading(double Value);

public sealed record Sample(double Position, double Value);

internal static class ReadmeSnippets
{
    public static async Task RunAsync(string folder, CancellationToken cancellationToken)
    {
        await Example(folder, cancellationToken);
        await Ports();
    }

    private static async Task Example(string folder, CancellationToken cancellationToken)
    {
        static ValueTask SaveAsync((string Path, string Hash)[] batch, CancellationToken ct) => default;

        #region readme-example
        await using PipelineRun run = Pipeline
            .From(Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories), new() { Name = "list" })
            .Transform(static async (path, ct) => (Path: path, Bytes: await File.ReadAllBytesAsync(path, ct)), new()
            {
                Name = "read",
                MaxDegreeOfParallelism = 4,
                ErrorPolicy = ErrorPolicy.Retry(2, Backoff.Exponential(TimeSpan.FromMilliseconds(50))).Then(ErrorPolicy.Skip),
            })
            .Where(static file => file.Bytes.Length > 0, new() { Name = "not empty" })
            .Transform(static file => (file.Path, Hash: Convert.ToHexString(SHA256.HashData(file.Bytes))), new() { Name = "hash" })
            .Batch(100, maxAge: TimeSpan.FromSeconds(1))
            .ForEach(static (batch, ct) => SaveAsync(batch, ct), new() { Name = "save" })
            .Build()
            .Start(cancellationToken);

        PipelineReport report = await run.Completion;
        Console.WriteLine(report);
        #endregion
    }

    private static async Task Ports()
    {
        List<Sample> samples = [];
        List<string> warnings = [];
        Reading[] readings = [new(1), new(2)];
        double[] positions = [0.5];

        #region readme-ports-wiring
        Pipeline pipeline = Pipeline.From(readings)
            .Into(static () => new Aligner(), r => r.Readings, new() { Name = "align" })
            .From(r => r.Positions, Pipeline.From(positions))
            .Branch(r => r.Warnings, branch => branch.ForEach(warnings.Add))
            .Continue(r => r.Samples)
            .ForEach(samples.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(samples.Count + warnings.Count == 2);
    }
}
