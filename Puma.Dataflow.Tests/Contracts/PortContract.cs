using System.Threading.Channels;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Contracts;

/// <summary>The ends of a runnable with several inputs and outputs. A placement adds a subclass that names itself.</summary>
public abstract class PortContract : PipelineTest
{
    /// <summary>Where the stages under test live.</summary>
    protected abstract Placement Placement { get; }

    private StageOptions Here => new() { Name = "work", Placement = Placement };

    [Fact] // S10, S20, Puma 85, 86, 89, 94, G10
    public async Task EachInput_IsToldOfItsEndOnce_AndTheRunnableAfterTheLast()
    {
        List<string> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Into(static () => new SharedHandler(), static r => r.First, Here)
            .From(static r => r.Second, Pipeline.From([10, 20]))
            .Continue(static r => r.Texts)
            .ForEach(seen.Add));
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => seen.Contains("second ended") && seen.Contains("1"), "the second input has ended, and the first goes on");
        Assert.DoesNotContain("first ended", seen);
        await run.SendAsync(2, TestToken);

        await run.StopAsync(TimeSpan.FromSeconds(30)).Within();

        Assert.Equal(["1", "10", "2", "20", "all ended", "first ended", "second ended"], seen.Order(StringComparer.Ordinal));
        Assert.Equal(["2", "first ended", "all ended"], seen[^3..]);
    }

    [Theory] // S4, S5, S17, S20, Puma 78, 79, 87, 88, 90, 91, 92, 97
    [InlineData(Failing.Item)]
    [InlineData(Failing.Input)]
    [InlineData(Failing.EndOfInput)]
    public async Task AFailure_ReachesEveryOutput_BehindItsValues_AndTheRunnableIsToldOnce(Failing failing)
    {
        ExpectFailure();
        Channel<int> numbers = Channel.CreateUnbounded<int>();
        Channel<string> texts = Channel.CreateUnbounded<string>();
        var gate = new Gate();
        PipelineRun run = Start(Pipeline.From(NumbersAsync())
            .Into(static o => new TwoOutputs(o), failing, static r => r.Numbers, Here)
            .From(static r => r.Words, Pipeline.From(WordsAsync(), new() { Name = "words" }))
            .Branch(static r => r.Doubled, b => b.To(numbers.Writer))
            .Continue(static r => r.Texts)
            .To(texts.Writer));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(failing == Failing.Input ? "words" : "work", fault.Stage);
        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Equal([2, 4], Drain(numbers.Reader));
        Assert.Equal(["a"], Drain(texts.Reader));
        Assert.Same(fault, await Assert.ThrowsAsync<StageFaultedException>(() => numbers.Reader.Completion.Within()));
        Assert.Same(fault, await Assert.ThrowsAsync<StageFaultedException>(() => texts.Reader.Completion.Within()));

        // It is told of the end once, and what it throws then changes nothing.
        var second = Assert.IsType<StageFaultedException>(Assert.Single((await run.Report).SecondaryErrors));
        Assert.Contains("the end is Faulted", second.Message, StringComparison.Ordinal);

        async IAsyncEnumerable<int> NumbersAsync()
        {
            yield return 1;
            yield return 2;
            await gate.WaitAsync();
            if (failing == Failing.Item)
                yield return 3;
        }

        async IAsyncEnumerable<string> WordsAsync()
        {
            yield return "a";
            await Waiting.UntilAsync(() => numbers.Reader.Count == 2 && texts.Reader.Count == 1, "all values have arrived");
            gate.Open();
            if (failing == Failing.Input)
                throw new FormatException("words");
        }
    }

    private static List<T> Drain<T>(ChannelReader<T> reader)
    {
        List<T> items = [];
        while (reader.TryRead(out T? item))
            items.Add(item);
        return items;
    }

    public enum Failing
    {
        Item,
        Input,
        EndOfInput,
    }

    [Fact] // S16, S34: each of them waits for its own slot, and is woken for it
    public async Task EmitsToSeveralOutputsAtOnce_AllArrive_InOrder()
    {
        const int Items = 5000;
        List<int> left = [], right = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, Items))
            .Into(static () => new AtOnce(), static r => r.Numbers, Here)
            .Branch(static r => r.Left, b => b.ForEach(left.Add, new() { BoundedCapacity = 1 }))
            .Continue(static r => r.Right)
            .ForEach(right.Add, new() { BoundedCapacity = 2 }));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, Items), left);
        Assert.Equal(left, right);
    }

    /// <summary>Emits each item to both of its outputs at once.</summary>
    public sealed class AtOnce : PortRunnable
    {
        public AtOnce() => Numbers = new(async (x, ct) => await Task.WhenAll(Left.EmitAsync(x, ct).AsTask(), Right.EmitAsync(x, ct).AsTask()));

        public Input<int> Numbers { get; }

        public Output<int> Left { get; } = new();

        public Output<int> Right { get; } = new();
    }

    public sealed class SharedHandler : PortRunnable
    {
        public SharedHandler()
        {
            First = new(OnNumberAsync, ct => Texts.EmitAsync("first ended", ct));
            Second = new(OnNumberAsync, ct => Texts.EmitAsync("second ended", ct));
        }

        public Input<int> First { get; }

        public Input<int> Second { get; }

        public Output<string> Texts { get; } = new();

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => Texts.EmitAsync("all ended", cancellationToken);

        private ValueTask OnNumberAsync(int number, CancellationToken cancellationToken) => Texts.EmitAsync($"{number}", cancellationToken);
    }

    public sealed class TwoOutputs : PortRunnable
    {
        public TwoOutputs(Failing failing)
        {
            Numbers = new((x, ct) => x == 3 ? throw new FormatException("no 3") : Doubled.EmitAsync(2 * x, ct));
            Words = new((x, ct) => Texts.EmitAsync(x, ct), _ => failing == Failing.EndOfInput ? throw new FormatException("end of the words") : default);
        }

        public Input<int> Numbers { get; }

        public Input<string> Words { get; }

        public Output<int> Doubled { get; } = new();

        public Output<string> Texts { get; } = new();

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause) => throw new InvalidOperationException($"the end is {outcome}");
    }
}

/// <inheritdoc/>
public sealed class InProcessPortTests : PortContract
{
    protected override Placement Placement => Placement.InProcess;
}

/// <inheritdoc/>
public sealed class LoopbackPortTests : PortContract
{
    protected override Placement Placement => Placement.Loopback;
}

/// <inheritdoc/>
public sealed class ChildProcessPortTests : PortContract
{
    protected override Placement Placement => Placement.ChildProcess;
}
