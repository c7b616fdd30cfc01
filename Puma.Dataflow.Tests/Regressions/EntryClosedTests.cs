using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// An entry was told to stop and woken before it was closed. When its stage looked in between, it found the entry open and waited for
/// ever. The moment cannot be held from outside, so many runs are tried.
/// </summary>
public sealed class EntryClosedTests : PipelineTest
{
    [Fact] // S1, S9
    public async Task Entry_CompletedWhileItsStageLooks_Ends()
    {
        Pipeline<int> pipeline = Pipeline.Accept<int>().ForEach(static _ => { }).Build(Options);
        for (int i = 0; i < 5_000; i++)
        {
            await using PipelineRun<int> run = pipeline.Start(TestToken);
            await run.Started;
            await run.SendAsync(i, TestToken);
            run.Complete();
            await run.Completion.Within();
        }
    }
}
