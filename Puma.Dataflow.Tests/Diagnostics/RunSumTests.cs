using System.Diagnostics.Metrics;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Tests.Diagnostics;

/// <summary>One instrument, over runs that are only numbers.</summary>
public sealed class RunSumTests : IDisposable
{
    private readonly Meter _meter = new($"sums-{Guid.NewGuid():N}");
    private readonly HashSet<IMeteredRun> _live = [];

    [Fact]
    public void ATotal_HasTheEndedRunsAndTheLiveOnes()
    {
        using MeterListener listener = Listen();
        RunSum<StageReport, long> sum = Make(isTotal: true);
        sum.Keep(new Numbers { Accepted = 5 });
        _live.Add(new Numbers { Accepted = 2 });

        Assert.Equal(7, Single(sum));
    }

    [Fact] // a difference of two counters that are read one after another
    public void ATotal_DoesNotFallWithANumberThatDoes()
    {
        using MeterListener listener = Listen();
        RunSum<StageReport, long> sum = Make(isTotal: true);
        var run = new Numbers { Accepted = 5 };
        _live.Add(run);

        Assert.Equal(5, Single(sum));
        run.Accepted = 4;
        Assert.Equal(5, Single(sum));
        run.Accepted = 6;
        Assert.Equal(6, Single(sum));
    }

    [Fact]
    public void ATotalThatWasShown_GoesOn_ForAListenerThatComesLater()
    {
        RunSum<StageReport, long> sum = Make(isTotal: true);
        var run = new Numbers { Accepted = 5 };
        _live.Add(run);
        using (Listen())
            Assert.Equal(5, Single(sum));

        _live.Remove(run);
        sum.Keep(run);
        _live.Add(new Numbers { Accepted = 2 });

        using MeterListener later = Listen();
        Assert.Equal(7, Single(sum));
    }

    [Fact]
    public void ALevel_FallsToZero_WhenTheLastRunHasEnded()
    {
        using MeterListener listener = Listen();
        RunSum<StageReport, long> sum = Make(isTotal: false);
        var run = new Numbers { Accepted = 5 };
        _live.Add(run);
        Assert.Equal(5, Single(sum));

        _live.Remove(run);
        sum.Keep(run);

        Assert.Equal(0, Single(sum));
    }

    [Fact]
    public void WhatEndsUnseen_IsNotKept()
    {
        RunSum<StageReport, long> sum = Make(isTotal: true);

        sum.Keep(new Numbers { Accepted = 5 });

        Assert.Empty(sum.Observe());
    }

    public void Dispose() => _meter.Dispose();

    private static long Single(RunSum<StageReport, long> sum) => Assert.Single(sum.Observe()).Value;

    private RunSum<StageReport, long> Make(bool isTotal)
    {
        var sum = new RunSum<StageReport, long>(new Lock(), _live, static (run, stage) => new RunTags(run.Pipeline), static run => run.ReportStages(), static s => s.Accepted, isTotal);
        sum.Instrument = _meter.CreateObservableCounter("sum", sum.Observe);
        return sum;
    }

    private MeterListener Listen()
    {
        var listener = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (instrument.Meter == _meter)
                    self.EnableMeasurementEvents(instrument);
            },
        };
        listener.Start();
        return listener;
    }

    private sealed class Numbers : IMeteredRun
    {
        public long Accepted { get; set; }

        public string Pipeline => "numbers";

        public RunState State => RunState.Running;

        public IReadOnlyList<StageReport> ReportStages() => [new() { Name = "stage", Kind = "test", Accepted = Accepted }];

        public IReadOnlyList<LinkReport> ReportLinks() => [];
    }
}
