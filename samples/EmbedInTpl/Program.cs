// Puma.Dataflow inside of TPL Dataflow, and TPL Dataflow inside of Puma.Dataflow. Each part checks what came out of it.
// With "--placement childprocess" the stages run in child processes, foreign blocks too; nothing else changes.
using System.Threading.Tasks.Dataflow;
using Microsoft.Extensions.Logging.Abstractions;
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
    Console.Error.WriteLine("usage: EmbedInTpl [--placement inprocess|loopback|childprocess]");
    return 2;
}

int failures = 0;
await PipelineInAGraphAsync();
await BlocksInAPipelineAsync();
await FaultLeavesThePipelineAsync();
await FaultEntersThePipelineAsync();
Console.WriteLine(failures == 0 ? "All as expected." : $"{failures} not as expected.");
return failures == 0 ? 0 : 1;

// A graph of blocks that was there before: numbers -> (a pipeline) -> lines.
async Task PipelineInAGraphAsync()
{
    Console.WriteLine("A pipeline as one block of a graph:");
    List<string> received = [];
    var numbers = new BufferBlock<int>(new() { BoundedCapacity = 10 });
    IPropagatorBlock<int, string> squares = Pipeline.Accept<int>()
        .Where(static x => x % 2 == 1)
        .Transform(static x => $"{x} x {x} = {x * x}", new() { Name = "square", MaxDegreeOfParallelism = 4, Placement = placement })
        .AsBlock();
    var lines = new ActionBlock<string>(received.Add, new() { BoundedCapacity = 10 });

    numbers.LinkTo(squares, new() { PropagateCompletion = true });
    squares.LinkTo(lines, new() { PropagateCompletion = true });

    for (int i = 1; i <= 1000; i++)
        await numbers.SendAsync(i);
    numbers.Complete();
    await lines.Completion;

    Check("500 lines, in order", received.Count == 500 && received[0] == "1 x 1 = 1" && received[^1] == "999 x 999 = 998001");
}

// A pipeline from a foreign source through a foreign block to a foreign target.
async Task BlocksInAPipelineAsync()
{
    Console.WriteLine("Blocks inside of a pipeline:");
    int sum = 0;
    var source = new BufferBlock<int>();
    var target = new ActionBlock<int>(x => sum += x);

    await using PipelineRun run = Pipeline.From(source, new() { Name = "source" })
        .Through(static () => new TransformBlock<int, int>(static x => x * 2, new() { MaxDegreeOfParallelism = 4, BoundedCapacity = 16 }), new() { Name = "doubler", Placement = placement })
        .Where(static x => x > 1000, new() { Name = "large" })
        .To(target, new() { Name = "target" })
        .Build()
        .Start();

    for (int i = 1; i <= 1000; i++)
        source.Post(i);
    source.Complete();
    PipelineReport report = await run.Completion;

    Check("the sum of 1002, 1004, ... 2000 is 750500", sum == 750_500);
    Check("the target was completed by the run", target.Completion.IsCompletedSuccessfully);
    Check("the blocks are stages of the report", report.Stage("doubler").Accepted == 1000 && report.Stage("doubler").Emitted == 1000);
}

// The values before a failure come first, then the failure itself: one exception, that of the pipeline, with the user's inside.
async Task FaultLeavesThePipelineAsync()
{
    Console.WriteLine("A fault leaves the pipeline:");
    IPropagatorBlock<string, int> parse = Pipeline.Accept<string>()
        .Transform(int.Parse, new() { Name = "parse", Placement = placement })
        .AsBlock(Quiet());
    foreach (string text in (string[])["1", "2", "three"])
        await parse.SendAsync(text);

    // Received here and not by the target: a TPL block that is faulted forgets what it has not handled yet.
    Check("1 and 2 come out", await parse.ReceiveAsync() == 1 && await parse.ReceiveAsync() == 2);
    var target = new ActionBlock<int>(static x => { });
    parse.LinkTo(target, new() { PropagateCompletion = true });

    Check("then the target faults with the failure of the stage", await ErrorOf(target.Completion) is StageFaultedException { Stage: "parse", ItemNumber: 3 } fault && fault.IsCausedBy<FormatException>());
    Check("the pipeline takes no more", !parse.Post("4"));
}

// A block fails, and with it the run that it is a stage of, and what comes after it.
async Task FaultEntersThePipelineAsync()
{
    Console.WriteLine("A fault enters the pipeline:");
    var target = new ActionBlock<int>(static x => { });

    await using PipelineRun run = Pipeline.From([5, 0, 10])
        .Through(static () => new TransformBlock<int, int>(static x => 100 / x), new() { Name = "divider", Placement = placement })
        .To(target, new() { Name = "target" })
        .Build(Quiet())
        .Start();

    Check("the run faults with the failure of the block", await ErrorOf(run.Completion) is StageFaultedException { Stage: "divider" } fault && fault.IsCausedBy<DivideByZeroException>());
    Check("the target faults too", await ErrorOf(target.Completion) is StageFaultedException again && again.IsCausedBy<DivideByZeroException>());
}

// These failures are wanted: nobody needs to read of them in the log.
static PipelineOptions Quiet() => new() { LoggerFactory = NullLoggerFactory.Instance };

// The first failure, without the AggregateException that TPL adds at each border.
static async Task<Exception?> ErrorOf(Task task)
{
    await Task.WhenAny(task, Task.Delay(TimeSpan.FromSeconds(10)));
    return task.Exception?.Flatten().InnerException;
}

void Check(string what, bool isTrue)
{
    Console.WriteLine($"  {(isTrue ? "yes" : "NO ")}  {what}");
    failures += isTrue ? 0 : 1;
}
