using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>A command that came while the last item was in work was refused when that returned at once: the stage took the end of its input first.</summary>
public sealed class LateCommandTests : PipelineTest
{
    [Theory] // S42
    [InlineData(true)]
    [InlineData(false)]
    public async Task ACommand_ThatComesDuringTheLastItem_Runs(bool isSync)
    {
        Gate inItem = new(), go = new();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().To(() => new Last(inItem, go, isSync), new() { Name = "work" }));
        await run.SendAsync(1, TestToken);
        await inItem.WaitAsync(TestToken);
        run.Complete();
        await Waiting.UntilAsync(() => run.Snapshot().Stages.Any(static s => s.Name != "work" && s.Activity == StageActivity.Ended), "the entry has ended");

        Task<int> asked = run.Control<ICounted>("work").CountAsync().AsTask();
        go.Open();

        await run.Completion.Within();
        Assert.Equal(1, await asked.Within());
    }

    public interface ICounted
    {
        ValueTask<int> CountAsync();
    }

    private sealed class Last(Gate inItem, Gate go, bool isSync) : SinkRunnable<int>, ICounted
    {
        private int _begun;

        public ValueTask<int> CountAsync() => new(_begun);

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            _begun++;
            inItem.Open();
            if (isSync)
                go.Block();
            else
                await go.WaitAsync(CancellationToken.None);
        }
    }
}
