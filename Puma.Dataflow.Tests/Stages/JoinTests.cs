using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

public sealed class JoinTests : PipelineTest
{
    [Theory] // S10, S32
    [InlineData(3, 5)]
    [InlineData(5, 3)]
    public async Task Join_OfUnequalInputs_PairsInOrder_AndDiscardsWhatFindsNoPartner(int first, int second)
    {
        Expect(21);
        List<(int, string)> pairs = [];
        PipelineRun run = Start(Pipeline.Join(
            Pipeline.From(Enumerable.Range(0, first)),
            Pipeline.From(Enumerable.Range(0, second).Select(static x => $"{x}")),
            new() { Name = "join" }).ForEach(pairs.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([(0, "0"), (1, "1"), (2, "2")], pairs);
        Assert.Equal((8, 6, 2), (report.Stage("join").Accepted, report.Stage("join").Delivered, report.Stage("join").Discarded));
        Assert.Contains(Log.Records, static r => r.EventId.Id == 21 && r.Message.Contains("NoPartner", StringComparison.Ordinal));
    }
}
