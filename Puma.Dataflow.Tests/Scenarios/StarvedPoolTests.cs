using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Alone with the thread pool of the process.</summary>
[CollectionDefinition(nameof(StarvedPool), DisableParallelization = true)]
public sealed class StarvedPool;

/// <summary>A thread pool of two threads is enough, because nothing of the library blocks one.</summary>
[Collection(nameof(StarvedPool))]
public sealed class StarvedPoolTests : LifecycleTest
{
    [Fact] // S1, design: no thread is blocked while waiting
    public async Task TwoHundredStagesOnFullLinks_AndTwentyBlockingOwnThreads_RunOnTwoPoolThreads()
    {
        ThreadPool.GetMinThreads(out int minWorkers, out int minPorts);
        ThreadPool.GetMaxThreads(out int maxWorkers, out int maxPorts);
        int least = Math.Max(2, Environment.ProcessorCount);
        Assert.True(ThreadPool.SetMinThreads(Math.Min(minWorkers, least), minPorts));
        Assert.True(ThreadPool.SetMaxThreads(least, maxPorts));
        try
        {
            var gate = new Gate();
            int blocked = 0;
            List<int> seen = [];
            PipelineBuilder<NoInput, int> line = Pipeline.From(Enumerable.Range(1, 1000), new() { Name = "source" });
            for (int i = 0; i < 200; i++)
                line = line.Transform(static x => x, new() { Name = $"stage {i}", BoundedCapacity = 1 });
            for (int i = 0; i < 20; i++)
            {
                line = line.Then(
                    () => new Blocking(gate, () => Interlocked.Increment(ref blocked)),
                    new() { Name = $"thread {i}", BoundedCapacity = 1, OwnThread = true });
            }

            PipelineRun blockingLine = Start(line.ForEach(seen.Add, new() { Name = "sink" }));

            // Twenty threads that block at once, each in a line of its own.
            PipelineRun[] others = [.. Enumerable.Range(0, 19).Select(i => Start(
                Pipeline.From(Enumerable.Range(1, 3))
                    .Then(() => new Blocking(gate, () => Interlocked.Increment(ref blocked)), new() { Name = $"other {i}", OwnThread = true })
                    .ForEach(static _ => { }, new() { Name = $"end {i}" })))];
            await Waiting.UntilAsync(() => Volatile.Read(ref blocked) == 20, "twenty own threads block");
            await Waiting.UntilAsync(() => blockingLine.Snapshot().Stages.Where(static s => s.Name.StartsWith("stage", StringComparison.Ordinal)).All(static s => s.SlotsHeld == 1), "two hundred stages wait");
            Assert.Empty(seen);

            // The pool still serves others.
            PipelineReport meanwhile = await Start(Pipeline.From(Enumerable.Range(1, 1000)).Transform(static x => x, new() { MaxDegreeOfParallelism = 4 }).ForEach(static _ => { }, new() { Name = "meanwhile" })).Completion.Within();
            AssertCounts(meanwhile, "meanwhile", accepted: 1000, delivered: 1000);
            gate.Open();

            PipelineReport report = await blockingLine.Completion.Within();
            Assert.Equal(Enumerable.Range(1, 1000), seen);
            AssertCounts(report, "stage 199", accepted: 1000, delivered: 1000);
            foreach (PipelineRun other in others)
                Assert.Equal(RunState.Completed, (await other.Completion.Within()).State);
        }
        finally
        {
            ThreadPool.SetMaxThreads(maxWorkers, maxPorts);
            ThreadPool.SetMinThreads(minWorkers, minPorts);
        }
    }

    private sealed class Blocking(Gate gate, Action onFirst) : Runnable<int, int>
    {
        private bool _hasBlocked;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (!_hasBlocked)
                onFirst();
            _hasBlocked = true;
            gate.Block();
            return EmitAsync(item, cancellationToken);
        }
    }
}
