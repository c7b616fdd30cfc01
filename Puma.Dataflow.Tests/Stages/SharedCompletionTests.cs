using System.Runtime.CompilerServices;
using Puma.Dataflow.Tests.Commands;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Stages;

/// <summary>What inputs share is completed once, after the last of them, wherever the runnable lives.</summary>
public sealed class SharedCompletionTests : ChildTest
{
    public static TheoryData<string> Places => Placed.All;

    [Theory, MemberData(nameof(Places))] // S10, Puma G10
    public async Task TwoInputs_OneEndsEarly_TheSharedCompletionRunsOnceAfterTheOther(string place)
    {
        var rest = new Gate();
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2], new() { Name = "first" })
            .Into(static () => new Two(), static r => r.First, Placed.At(place, "two"))
            .From(static r => r.Second, Pipeline.From(After(rest, 3), new() { Name = "second" }))
            .Continue(static r => r.Seen)
            .ForEach(seen.Add));
        await run.Stage("first").Completion.Within();
        await Waiting.UntilAsync(() => run.Snapshot().Stage("two").Delivered == 2, "the first input has ended");
        rest.Open();

        await run.Completion.Within();

        Assert.Equal(["first 1", "first 2", "second 3", "ended", "completed"], seen);
    }

    [Theory, MemberData(nameof(Places))] // S10, Puma G10
    public async Task ThreeInputs_TheSharedCompletionRunsOnceAfterTheLast_BesideThatOfAnInputAlone(string place)
    {
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 50))
            .Into(static () => new Four(), static r => r.First, Placed.At(place, "four"))
            .From(static r => r.Second, Pipeline.From(Enumerable.Empty<int>()))
            .From(static r => r.Third, Pipeline.From(Enumerable.Range(0, 7)))
            .From(static r => r.Alone, Pipeline.From([1]))
            .Continue(static r => r.Seen)
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(["alone ended", "ended after 57"], seen.Order(StringComparer.Ordinal));
    }

    [Theory, MemberData(nameof(Places))] // S10, S17, Puma G10
    public async Task OneInputFaults_TheSharedCompletionRunsOnceAfterBoth(string place)
    {
        ExpectFailure();
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From(Faulty(), new() { Name = "first" })
            .Into(static () => new Two(), static r => r.First, Placed.At(place, "two"))
            .From(static r => r.Second, Pipeline.From(After(new Gate(), 3), new() { Name = "second" }))
            .Continue(static r => r.Seen)
            .ForEach(seen.Add));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("first", fault.Stage);
        Assert.Equal(["first 1", "ended", "completed"], seen);
    }

    [Theory, MemberData(nameof(Places))] // S10, S13, Puma G10
    public async Task FanInAny_TheOtherInputHasNotEnded_TheSharedCompletionDoesNotRun(string place)
    {
        var rest = new Gate();
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2], new() { Name = "first" })
            .Into(static () => new Two(), static r => r.First, Placed.At(place, "two") with { FanIn = FanIn.Any })
            .From(static r => r.Second, Pipeline.From(After(rest, 3), new() { Name = "second" }))
            .Continue(static r => r.Seen)
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(["first 1", "first 2", "completed"], seen);
        Assert.False(rest.IsOpen);
    }

    [Fact]
    public void WithoutACompletion_IsRefused()
    {
        Assert.Throws<ArgumentNullException>(static () => new SharedCompletion(null!));
        Assert.Throws<ArgumentNullException>(static () => new Input<int>(static (_, _) => default, (SharedCompletion)null!));
    }

    private static async IAsyncEnumerable<int> After(Gate gate, int value, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        await gate.WaitAsync(cancellationToken);
        yield return value;
    }

    private static IEnumerable<int> Faulty()
    {
        yield return 1;
        throw new FormatException("no more");
    }

    private sealed class Two : PortRunnable
    {
        public Two()
        {
            var completion = new SharedCompletion(ct => Seen.EmitAsync("ended", ct));
            First = new((item, ct) => Seen.EmitAsync($"first {item}", ct), completion);
            Second = new((item, ct) => Seen.EmitAsync($"second {item}", ct), completion);
        }

        public Input<int> First { get; }

        public Input<int> Second { get; }

        public Output<string> Seen { get; } = new();

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => Seen.EmitAsync("completed", cancellationToken);
    }

    private sealed class Four : PortRunnable
    {
        private int _items;

        public Four()
        {
            var completion = new SharedCompletion(ct => Seen.EmitAsync($"ended after {_items}", ct));
            First = new(CountAsync, completion);
            Second = new(CountAsync, completion);
            Third = new(CountAsync, completion);
            Alone = new(static (_, _) => default, ct => Seen.EmitAsync("alone ended", ct));
        }

        public Input<int> First { get; }

        public Input<int> Second { get; }

        public Input<int> Third { get; }

        public Input<int> Alone { get; }

        public Output<string> Seen { get; } = new();

        private ValueTask CountAsync(int item, CancellationToken cancellationToken)
        {
            _items++;
            return default;
        }
    }
}
