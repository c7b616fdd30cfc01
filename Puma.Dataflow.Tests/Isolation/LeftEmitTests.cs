using Puma.Dataflow.Tests.Commands;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>
/// The last emit of user code that does not await it was lost when the next stage had no slot just then: the stage ended before it. In a child it
/// came after the end of its item, for which the child was killed.
/// </summary>
public sealed class LeftEmitTests : ChildTest
{
    public static TheoryData<string> Places => Placed.All;

    [Theory, MemberData(nameof(Places))] // S30: what comes of a delivered item has arrived
    public Task OfARunnable(string place) => ArrivesAsync(Pipeline.From([1, 2]).Then(static () => new Careless(), Placed.At(place, "careless")));

    [Theory, MemberData(nameof(Places))] // S30
    public Task OfASource(string place) => ArrivesAsync(Pipeline.From(static () => new CarelessSource(), Placed.At(place, "careless")));

    [Theory, MemberData(nameof(Places))] // S30
    public Task OfARunnableWithPorts(string place) => ArrivesAsync(Pipeline.From([1, 2])
        .Into(static () => new CarelessPorts(), static r => r.Input, Placed.At(place, "careless"))
        .Continue(static r => r.Output));

    [Theory] // S30: there each item has what it made
    [InlineData("loopback")]
    [InlineData("child process")]
    public async Task OfEachItemOfAChild(string place)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, 50))
            .Then(static () => new Careless(), Placed.At(place, "careless"))
            .ForEach(
                async x =>
                {
                    await Waiting.LetOthersRunAsync();
                    seen.Add(x);
                },
                new() { BoundedCapacity = 1 }));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 50), seen);
    }

    [Theory] // S35, S38: the child is not ended for what comes of an item that throws
    [InlineData("loopback")]
    [InlineData("child process")]
    public async Task OfItemsThatThrow_HarmsNoChild(string place)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, 50))
            .Then(static () => new CarelessThrower(), Placed.At(place, "careless") with { ErrorPolicy = ErrorPolicy.Skip })
            .ForEach(
                async x =>
                {
                    await Waiting.LetOthersRunAsync();
                    seen.Add(x);
                },
                new() { BoundedCapacity = 1 }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(50, report.Stage("careless").Skipped);
        Assert.Equal(Enumerable.Range(1, 50), seen);
    }

    [Theory] // S30: in a pool each item has what it made
    [InlineData(true)]
    [InlineData(false)]
    public async Task OfAPool(bool isOrdered)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, 200))
            .Then(static () => new CarelessTwice(), new() { Name = "careless", MaxDegreeOfParallelism = 2, EnsureOrdered = isOrdered })
            .ForEach(
                async x =>
                {
                    await Task.Yield();
                    seen.Add(x);
                },
                new() { BoundedCapacity = 1 }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(400, report.Stage("careless").Emitted);
        Assert.Equal(Enumerable.Range(1, 200).SelectMany(static x => (int[])[x, -x]), isOrdered ? seen : [.. seen.OrderBy(static x => Math.Abs(x)).ThenByDescending(static x => x)]);
    }

    [Fact] // S13, S30
    public async Task OfAStageThatCompletesEarly()
    {
        var gate = new Gate();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, 1000))
            .Then(static () => new CarelessUntilTwo(), new() { Name = "careless" })
            .ForEach(
                async x =>
                {
                    await gate.WaitAsync();
                    seen.Add(x);
                },
                new() { BoundedCapacity = 1 }));
        await Waiting.UntilAsync(() => run.Snapshot().Stage("careless").Delivered == 2, "the second item has been handled");
        await Waiting.LetOthersRunAsync();
        gate.Open();

        await run.Completion.Within();

        Assert.Equal([1, 2], seen);
    }

    [Theory] // S30, S41
    [InlineData(false)]
    [InlineData(true)]
    public async Task OfASource_ThatHasLetATickIn(bool isLoopback)
    {
        TickingSource.Begin();
        List<int> seen = [];
        PipelineRun run = Start(
            Pipeline.From(static () => new TickingSource(), new() { Name = "source", TickInterval = TimeSpan.FromSeconds(1), Placement = isLoopback ? Placement.Loopback : Placement.InProcess })
                .ForEach(seen.Add),
            FakeTimeOptions);
        await TickingSource.IsRunning.WaitAsync(TestToken);
        Time.Advance(TimeSpan.FromSeconds(1));
        TickingSource.GoOn.Open();
        await TickingSource.InTick.WaitAsync(TestToken);
        await Waiting.LetOthersRunAsync();
        TickingSource.TickMayEnd.Open();

        await run.Completion.Within();

        Assert.Equal([1, 2], seen);
        Assert.Equal(["tick", "completed"], TickingSource.Seen);
    }

    private async Task ArrivesAsync(PipelineBuilder<NoInput, int> builder)
    {
        var gate = new Gate();
        List<int> seen = [];
        PipelineRun run = Start(builder.ForEach(
            async x =>
            {
                await gate.WaitAsync();
                seen.Add(x);
            },
            new() { BoundedCapacity = 1 }));

        // Most likely the last item has been handled by then, and nothing is left of it but its output.
        await Waiting.UntilAsync(() => run.Snapshot().Stage("careless").Emitted == 1, "the first output is on its way");
        await Waiting.LetOthersRunAsync();
        gate.Open();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2], seen);
        Assert.Equal(2, report.Stage("careless").Emitted);
    }

#pragma warning disable CA2012 // The mistake that is tested.
    public sealed class Careless : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            _ = EmitAsync(item, cancellationToken);
            return default;
        }
    }

    public sealed class CarelessThrower : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            _ = EmitAsync(item, cancellationToken);
            throw new FormatException();
        }
    }

    public sealed class CarelessTwice : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await EmitAsync(item, cancellationToken);
            _ = EmitAsync(-item, cancellationToken);
        }
    }

    public sealed class CarelessUntilTwo : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            _ = EmitAsync(item, cancellationToken);
            if (item == 2)
                Context.Complete();
            return default;
        }
    }

    /// <summary>Made by the child, which is in this process.</summary>
    public sealed class TickingSource : SourceRunnable<int>
    {
        internal static Gate IsRunning { get; private set; } = new();

        internal static Gate GoOn { get; private set; } = new();

        internal static Gate InTick { get; private set; } = new();

        internal static Gate TickMayEnd { get; private set; } = new();

        internal static List<string> Seen { get; private set; } = [];

        public static void Begin() => (IsRunning, GoOn, InTick, TickMayEnd, Seen) = (new(), new(), new(), new(), []);

        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            await EmitAsync(1, stopToken);
            IsRunning.Open();
            await GoOn.WaitAsync(stopToken);
            _ = EmitAsync(2, stopToken);
        }

        protected override async ValueTask OnTickAsync(CancellationToken cancellationToken)
        {
            InTick.Open();
            await TickMayEnd.WaitAsync(cancellationToken);
            Seen.Add("tick");
        }

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken)
        {
            Seen.Add("completed");
            return default;
        }
    }

    public sealed class CarelessSource : SourceRunnable<int>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            await EmitAsync(1, stopToken);
            _ = EmitAsync(2, stopToken);
        }
    }

    public sealed class CarelessPorts : PortRunnable
    {
        public CarelessPorts() => Input = new Input<int>((item, cancellationToken) =>
        {
            _ = Output!.EmitAsync(item, cancellationToken);
            return default;
        });

        public Input<int> Input { get; }

        public Output<int> Output { get; } = new();
    }
#pragma warning restore CA2012
}
