// Producer -> processor -> consumer: a source that reads sentences, a runnable that cuts them into words, a sink that counts the words.
// Each is a class with its own state; the pipeline joins them by bounded buffers and ends with a report.
// With "--placement childprocess" the first two run in child processes: one word changes, and nothing else.
using Puma.Dataflow;

Placement? chosen = args switch
{
    [] or ["--placement", "inprocess"] => Placement.InProcess,
    ["--placement", "loopback"] => Placement.Loopback,
    ["--placement", "childprocess"] => Placement.ChildProcess,
    _ => null,
};
if (chosen is not { } placement)
{
    Console.Error.WriteLine("usage: QuickStart [--placement inprocess|loopback|childprocess]");
    return 2;
}

Pipeline pipeline = Pipeline
    .From(static o => new Reader(o), new ReaderOptions(Repetitions: 1000), new() { Name = "read", Placement = placement })
    .Then(static () => new Splitter(), new() { Name = "split", MaxDegreeOfParallelism = 2, Placement = placement })
    .To(static () => new Counter(), new() { Name = "count" })
    .Build();

await using PipelineRun run = pipeline.Start();
PipelineReport report = await run.Completion;
Console.WriteLine();
Console.WriteLine(report);
return 0;

/// <summary>What the producer is told: a value, copied to where the producer runs.</summary>
internal sealed record ReaderOptions(int Repetitions);

/// <summary>The producer.</summary>
internal sealed class Reader(ReaderOptions options) : SourceRunnable<string>
{
    private static readonly string[] Sentences =
    [
        "nothing hangs and nothing is lost",
        "every ending is reached and every item is accounted for",
        "values first and the error last",
    ];

    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        for (int i = 0; i < options.Repetitions && !stopToken.IsCancellationRequested; i++)
        {
            foreach (string sentence in Sentences)
                await EmitAsync(sentence, stopToken); // waits while the next stage has no room
        }
    }
}

/// <summary>The processor. The pipeline makes two of them, and keeps the order of their results.</summary>
internal sealed class Splitter : Runnable<string, string>
{
    protected override async ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
    {
        foreach (string word in item.Split(' '))
            await EmitAsync(word, cancellationToken);
    }
}

/// <summary>The consumer.</summary>
internal sealed class Counter : SinkRunnable<string>
{
    private readonly Dictionary<string, int> _counts = [];

    protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
    {
        _counts[item] = _counts.GetValueOrDefault(item) + 1; // no lock: callbacks of a runnable never run at the same time
        return default;
    }

    protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken)
    {
        foreach ((string word, int count) in _counts.OrderByDescending(static pair => pair.Value).ThenBy(static pair => pair.Key).Take(5))
            Console.WriteLine($"{count,6} {word}");
        return default;
    }
}
