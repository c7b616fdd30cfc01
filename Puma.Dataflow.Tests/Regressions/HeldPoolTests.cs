using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// A pool whose stream was held up by a full dead-letter target had taken note of a command, and let its instances take further items until
/// it came to give the turn for it.
/// </summary>
public sealed class HeldPoolTests : PipelineTest
{
    [Fact] // S25, S41
    public async Task ACommand_WhileTheStreamIsHeldUp_KeepsTheInstancesFromFurtherItems()
    {
        const int Letters = StageOptions.DefaultCapacity, LastLetter = 1000;
        Gate letters = new(), firstIn = new(), firstDone = new(), lastDone = new(), isHeld = new(), holdStream = new();
        int begun = 0, begunAtNote = -1;
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().PartitionBy(static x => x < 0 ? 0 : 1).To(
                () => new Keyed(
                    async x =>
                    {
                        if (x < 0)
                        {
                            if (Interlocked.Increment(ref begun) > 1)
                                return;
                            firstIn.Open();
                            await firstDone.WaitAsync(CancellationToken.None);
                            return;
                        }

                        if (x == LastLetter)
                            await lastDone.WaitAsync(CancellationToken.None);
                        throw new FormatException();
                    },
                    () => begunAtNote = Volatile.Read(ref begun)),
                new()
                {
                    Name = "work",
                    MaxDegreeOfParallelism = 2,
                    EnsureOrdered = false,
                    BoundedCapacity = 512,
                    ErrorPolicy = ErrorPolicy.DeadLetter(async (DeadLetter<int> _, CancellationToken ct) => await letters.WaitAsync(ct)),
                }),
            Options with { SlowCallWarning = Timeout.InfiniteTimeSpan });
        for (int i = 0; i < Letters; i++)
            await run.SendAsync(i, TestToken);
        await run.SendAsync(LastLetter, TestToken);
        for (int i = 1; i <= 10; i++)
            await run.SendAsync(-i, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work") is { DeadLettered: Letters, InFlight: 2, Queued: 0 }, "only two are in work");
        await firstIn.WaitAsync(TestToken);

        // The stream is held when it wakes up next, which the command does, until the item that fails is done.
        StageNode work = run.Graph.Nodes.Single(static n => n.Name == "work");
        int held = 0;
        run.Graph.OnActivity = () =>
        {
            if (work.Activity != StageActivity.Working || Interlocked.Exchange(ref held, 1) != 0)
                return;
            isHeld.Open();
            holdStream.Block();
        };
        Task noted = run.Control<INoted>("work", 0).NoteAsync().AsTask();
        await isHeld.WaitAsync(TestToken);
        lastDone.Open();
        await Waiting.LetOthersRunAsync();
        holdStream.Open();
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work").Activity == StageActivity.WaitingForOutput, "the stream waits for the dead letters");
        firstDone.Open();
        await Waiting.LetOthersRunAsync();
        letters.Open();

        await noted.Within();
        run.Complete();
        await run.Completion.Within();
        Assert.InRange(begunAtNote, 1, 2);
    }

    public interface INoted
    {
        ValueTask NoteAsync();
    }

    private sealed class Keyed(Func<int, ValueTask> handle, Action note) : SinkRunnable<int>, INoted
    {
        public ValueTask NoteAsync()
        {
            note();
            return default;
        }

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => handle(item);
    }
}
