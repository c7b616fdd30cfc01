using System.Diagnostics.Metrics;
using System.Reflection;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>The tables of docs/monitoring.md say which instruments there are, and with which tags measurements and activities come.</summary>
public sealed class MonitoringPageTests : PipelineTest
{
    private const string Page = "docs/monitoring.md";

    private readonly string _pipeline = $"documented-{Guid.NewGuid():N}";

    [Fact]
    public async Task Table_HasEveryInstrument()
    {
        var real = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var tagsOf = new Dictionary<string, string[]>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (instrument.Meter.Name != "Puma.Dataflow")
                    return;
                real.Add(instrument.Name, $"{(instrument.GetType().Name.StartsWith("ObservableCounter", StringComparison.Ordinal) ? "total" : "at the moment")} | {instrument.Unit} | {instrument.Description}");
                self.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, _, tags, _) => NoteTags(instrument, tags));
        listener.SetMeasurementEventCallback<double>((instrument, _, tags, _) => NoteTags(instrument, tags));
        listener.Start();
        await Start(Pipeline.From([1]).ForEach(static _ => { }), Options with { Name = _pipeline }).Completion.Within();
        listener.RecordObservableInstruments();

        List<string[]> rows = Repository.ReadTable(Page, "Instrument");

        Assert.Equal(real.Select(static i => $"{i.Key} | {i.Value}"), rows.Select(static r => $"{r[0].Trim('`')} | {r[1]} | {r[2].Trim('`')} | {r[4]}").Order(StringComparer.Ordinal));
        foreach (string[] row in rows)
            Assert.Equal((row[0], string.Join(", ", tagsOf[row[0].Trim('`')].Select(static t => $"`{t}`"))), (row[0], row[3]));
        Assert.Equal(
            tagsOf.Values.SelectMany(static t => t).Distinct().Order(StringComparer.Ordinal),
            Repository.ReadTable(Page, "Tag of a measurement").SelectMany(static r => r[0].Split(", ")).Select(static t => t.Trim('`')).Order(StringComparer.Ordinal));

        void NoteTags(Instrument instrument, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            if (tags[0].Value as string == _pipeline)
                tagsOf[instrument.Name] = [.. tags.ToArray().Select(static t => t.Key)];
        }
    }

    [Theory]
    [InlineData(typeof(PipelineReport))]
    [InlineData(typeof(StageReport))]
    [InlineData(typeof(LinkReport))]
    public void Table_HasEveryMemberOfAReport(Type type)
    {
        IEnumerable<string> real = type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Select(static p => p.Name);
        IEnumerable<string> told = Repository.ReadTable(Page, $"`{type.Name}`").SelectMany(static r => r[0].Split(", ")).Select(static n => n.Trim('`'));

        Assert.Equal(real.Order(StringComparer.Ordinal), told.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Table_HasEveryTagOfAnActivity()
    {
        ExpectFailure();
        using var trace = new ActivityRecorder(_pipeline);
        await Assert.ThrowsAsync<StageFaultedException>(() => Start(Pipeline.From([1]).ForEach(static _ => throw new FormatException()), Options with { Name = _pipeline }).Completion.Within());

        IEnumerable<string> real = trace.Stopped.SelectMany(static a => a.TagObjects.Select(t => $"{t.Key} {(a.OperationName == "puma.run" ? "run" : "stage")}")).Distinct();
        IEnumerable<string> told = Repository.ReadTable(Page, "Tag of an activity").SelectMany(static r => (r[1] == "both" ? (string[])["run", "stage"] : [r[1]]).Select(on => $"{r[0].Trim('`')} {on}"));

        Assert.Equal(real.Order(StringComparer.Ordinal), told.Order(StringComparer.Ordinal));
    }
}
