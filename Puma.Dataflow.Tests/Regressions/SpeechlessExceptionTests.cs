using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>An exception of user code that cannot even say what it is.</summary>
public sealed class SpeechlessExceptionTests : PipelineTest
{
    public enum Place
    {
        Item,
        Start,
        Completed,
        End,
        Discarded,
        External,
    }

    [Theory] // S1, S14
    [InlineData(Place.Item)]
    [InlineData(Place.Start)]
    [InlineData(Place.Completed)]
    [InlineData(Place.End)]
    [InlineData(Place.Discarded)]
    [InlineData(Place.External)]
    public async Task WhereverItIsThrown_TheRunEnds(Place place)
    {
        ExpectFailure();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Then(() => new Speechless(place), new() { Name = "speechless" }).ForEach(static _ => { }),
            Options with { OnDiscarded = place == Place.Discarded ? static _ => throw new SpeechlessException() : null });
        if (place is not Place.Start)
            await run.SendAsync(1, TestToken);
        if (place == Place.External)
            run.Fault(new SpeechlessException());
        else if (place == Place.Discarded)
            run.Cancel();
        else
            run.Complete();

        PipelineReport report = await run.Report.Within();

        Assert.Equal(place switch { Place.End => RunState.Completed, Place.Discarded => RunState.Canceled, _ => RunState.Faulted }, report.State);
        if (place is not Place.Discarded)
            Assert.Contains("Message threw", report.ToString(), StringComparison.Ordinal);
    }

    [Theory] // S35
    [InlineData(true)]
    [InlineData(false)]
    public async Task AsTheErrorOfAnItem_ItIsAbsorbed(bool isSkipped)
    {
        List<DeadLetter<int>> letters = [];
        PipelineRun run = Start(Pipeline.From([1, 2])
            .Transform(static x => x == 1 ? throw new SpeechlessException() : x, new()
            {
                ErrorPolicy = isSkipped ? ErrorPolicy.Skip : ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) => { letters.Add(letter); return default; }),
            })
            .ForEach(static _ => { }));

        Assert.Equal(RunState.Completed, (await run.Completion.Within()).State);
        Assert.Equal(isSkipped ? 0 : 1, letters.Count);
    }

    private sealed class SpeechlessException : Exception
    {
        public override string Message => throw new InvalidOperationException("it has no message");
    }

    private sealed class Speechless(Place place) : Runnable<int, int>
    {
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken) => At(Place.Start);

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => At(Place.Item);

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => At(Place.Completed);

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause) => At(Place.End);

        private ValueTask At(Place here) => here == place ? throw new SpeechlessException() : default;
    }
}
