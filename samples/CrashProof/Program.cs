// A stage that really crashes now and then: some pictures overflow the stack, touch memory that is not theirs, fail fast or eat all memory,
// and the decoder gives up by itself from time to time. It runs in child processes, so the program lives, every good picture is decoded and
// every bad one is listed. Ends with 0 when that is so.
using CrashProof;
using Microsoft.Extensions.Logging.Abstractions;
using Puma.Dataflow;

const int Count = 400;
Picture[] pictures = [.. Enumerable.Range(1, Count).Select(static n => new Picture(n, FlawOf(n), MakeBytes(n)))];
List<Thumbnail> decoded = [];
List<DeadLetter<Picture>> poison = [];

Pipeline pipeline = Pipeline.From(pictures, new() { Name = "pictures" })
    .Transform(FragileDecoder.Decode, new()
    {
        Name = "decode",
        MaxDegreeOfParallelism = 2,
        Placement = Placement.ChildProcess with
        {
            // A picture that was being decoded when its process died is tried once more in a new one; then it is poison.
            OnLoss = LossPolicy.Restart(max: 20, backoff: Backoff.None).Replay(attempts: 2),
            MemoryLimit = 256 * 1024 * 1024,
        },
        ErrorPolicy = ErrorPolicy.DeadLetter((DeadLetter<Picture> letter, CancellationToken _) =>
        {
            poison.Add(letter);
            return default;
        }),
    })
    .ForEach(decoded.Add, new() { Name = "collect" })
    .Build(new() { LoggerFactory = NullLoggerFactory.Instance }); // every crash would be a warning in the log

await using PipelineRun run = pipeline.Start();
PipelineReport report = await run.Completion;

foreach (DeadLetter<Picture> letter in poison.OrderBy(static l => l.Item.Number))
    Console.WriteLine($"picture {letter.Item.Number,3} was not decoded ({letter.Item.Flaw}): {((ChildProcessLostException)letter.Error).Exit.Description}");
Console.WriteLine($"{decoded.Count} of {Count} pictures were decoded. {report.Stage("decode").Restarts} child processes were lost and replaced. This one, {Environment.ProcessId}, was not.");

bool isRight = decoded.Select(static t => t.Number).SequenceEqual(pictures.Where(static p => p.Flaw == Flaw.None).Select(static p => p.Number))
    && poison.Select(static l => l.Item.Number).Order().SequenceEqual(pictures.Where(static p => p.Flaw != Flaw.None).Select(static p => p.Number));
Console.WriteLine(isRight ? "Every good picture is there, once and in order, and every bad one is listed." : "NOT as expected.");
return isRight ? 0 : 1;

static Flaw FlawOf(int number) => number % 80 == 0 ? (Flaw)(1 + (((number / 80) - 1) % 4)) : Flaw.None;

static byte[] MakeBytes(int number)
{
    var bytes = new byte[10_000];
    new Random(number).NextBytes(bytes);
    return bytes;
}
