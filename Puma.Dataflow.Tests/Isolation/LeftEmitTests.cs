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
