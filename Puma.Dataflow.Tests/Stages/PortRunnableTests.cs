using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

public sealed class PortRunnableTests : PipelineTest
{
    [Fact] // Puma 86
    public async Task Input_EndedWhileAnotherIsFlooded_IsToldAtOnce()
    {
        var runnable = new TwoInputs();
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 50)).Into(() => runnable, static r => r.First, new() { Name = "two" })
            .From(static r => r.Second, Pipeline.From(UntilTold(runnable))).End());

        await run.Completion.Within();

        Assert.Equal(50, runnable.FirstCount);
        Assert.True(runnable.FirstEnded.IsOpen);
        Assert.Equal(runnable.SecondCount, run.Snapshot().Stage("two").Delivered - 50);
    }

    [Fact] // S41, Puma 93
    public async Task Inputs_AreServicedInTurn_OneItemAtATime()
    {
        var gate = new Gate();
        var runnable = new TwoInputs { Before = () => gate.WaitAsync() };
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 60)).Into(() => runnable, static r => r.First, new() { Name = "two" })
            .From(static r => r.Second, Pipeline.From(Enumerable.Range(0, 60))).End());
        await Waiting.UntilAsync(() => run.Snapshot().Links.All(static l => l.Sent == 60), "both inputs are full of items");
        gate.Open();

        await run.Completion.Within();

        Assert.False(runnable.WasConcurrent);
        Assert.Equal(Enumerable.Range(0, 120).Select(i => i % 2 == 0 ? runnable.Order[0] : runnable.Order[1]), runnable.Order);
    }

    private static IEnumerable<int> UntilTold(TwoInputs runnable)
    {
        for (int i = 0; !runnable.FirstEnded.IsOpen; i++)
            yield return i;
    }

    private sealed class TwoInputs : PortRunnable
    {
        private int _running;

        public TwoInputs()
        {
            First = new Input<int>((_, _) => HandleAsync('1'), _ =>
            {
                FirstEnded.Open();
                return default;
            });
            Second = new Input<int>((_, _) => HandleAsync('2'));
        }

        public Input<int> First { get; }

        public Input<int> Second { get; }

        public Func<Task> Before { get; init; } = static () => Task.CompletedTask;

        public Gate FirstEnded { get; } = new();

        public List<char> Order { get; } = [];

        public bool WasConcurrent { get; private set; }

        public int FirstCount => Order.Count(static c => c == '1');

        public int SecondCount => Order.Count(static c => c == '2');

        private async ValueTask HandleAsync(char input)
        {
            WasConcurrent |= Interlocked.Increment(ref _running) != 1;
            await Before();
            Order.Add(input);
            Interlocked.Decrement(ref _running);
        }
    }
}
