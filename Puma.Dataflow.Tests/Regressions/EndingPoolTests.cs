using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>A pool that started nothing more gave its idle instances no turn for commands either: who awaited a call to one there waited for ever.</summary>
public sealed class EndingPoolTests : PipelineTest
{
    private Func<ValueTask> _wait = static () => default;

    [Theory] // S13, S42
    [InlineData(true)]
    [InlineData(false)]
    public async Task AHandlerThatFinishesItsStage_AndCallsAnIdleInstance_IsRefused(bool isOrdered)
    {
        Exception? refusal = null;
        PipelineRun<int> run = null!;
        run = Start(Pool(isOrdered, async (context, _) =>
        {
            context.Complete();
            refusal = await Record.ExceptionAsync(() => Other(run, context).IndexAsync().AsTask());
        }));
        await run.SendAsync(1, TestToken);
        await run.Completion.Within();

        Assert.Equal(CommandFailure.StageEnded, Assert.IsType<CommandFailedException>(refusal).Failure);
    }

    [Fact] // S16, S42
    public async Task AHandlerBeforeAFailure_ThatCallsTheInstanceOfIt_IsNotLeftWaiting()
    {
        ExpectFailure();
        Gate firstRuns = new(), goOn = new(), fails = new();
        Exception? refusal = null;
        PipelineRun<int> run = null!;
        run = Start(
            Pool(isOrdered: true, async (context, item) =>
            {
                if (item == 2)
                {
                    await firstRuns.WaitAsync(TestToken);
                    fails.Open();
                    throw new FormatException("the second");
                }

                firstRuns.Open();
                await goOn.WaitAsync(TestToken);
                refusal = await Record.ExceptionAsync(() => Other(run, context).IndexAsync().AsTask());
            }),
            Options with { FaultMode = FaultMode.DrainDownstream });
        await run.SendAsync(1, TestToken);
        await firstRuns.WaitAsync(TestToken);
        await run.SendAsync(2, TestToken);
        await fails.WaitAsync(TestToken);

        // The failure is noted meanwhile, or it is not: then the answer comes.
        await Waiting.LetOthersRunAsync();
        goOn.Open();

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
        Assert.Equal(2, fault.ItemNumber);
        Assert.True(refusal is null or CommandFailedException { Failure: CommandFailure.StageEnded }, $"{refusal}");
    }

    [Fact] // S41: an item does not wait behind a command while another instance is idle
    public async Task AnItem_ThatComesWithACommandThatWaitsForIt_IsHandledByTheOtherInstance()
    {
        const int Rounds = 200;
        Gate[] handled = [.. Enumerable.Range(0, Rounds).Select(static _ => new Gate())];
        PipelineRun<int> run = Start(Pool(isOrdered: false, (_, item) =>
        {
            handled[item].Open();
            return default;
        }));
        await run.Started.Within();

        for (int round = 0; round < Rounds; round++)
        {
            _wait = () => new(handled[round].WaitAsync(TestToken));
            Task waiting = run.Control<IMember>("pool", round % 2).WaitAsync().AsTask();
            await run.SendAsync(round, TestToken);
            await waiting.Within();
        }

        run.Complete();
        await run.Completion.Within();
    }

    private PipelineEnd<int> Pool(bool isOrdered, Func<StageContext, int, ValueTask> handle) =>
        Pipeline.Accept<int>()
            .Then(() => new Member(handle, () => _wait()), new() { Name = "pool", MaxDegreeOfParallelism = 2, EnsureOrdered = isOrdered })
            .ForEach(static _ => { });

    private static IMember Other(PipelineRun run, StageContext context) => run.Control<IMember>("pool", 1 - context.Instance);

    public interface IMember
    {
        ValueTask<int> IndexAsync();

        ValueTask WaitAsync();
    }

    private sealed class Member(Func<StageContext, int, ValueTask> handle, Func<ValueTask> wait) : Runnable<int, int>, IMember
    {
        public ValueTask<int> IndexAsync() => new(Context.Instance);

        public ValueTask WaitAsync() => wait();

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await handle(Context, item);
            await EmitAsync(item, cancellationToken);
        }
    }
}
