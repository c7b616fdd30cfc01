namespace Puma.Dataflow.Tests.Diagnostics;

/// <summary>How the numbers read.</summary>
public sealed class ReportTextTests
{
    [Fact]
    public void AStage_IsOneLine_WithoutWhatIsZero()
    {
        var running = new StageReport { Name = "decode", Kind = "transform", State = StageState.Running, Activity = StageActivity.WaitingForOutput, WaitsFor = "store", Accepted = 12, Delivered = 10, Emitted = 10, Queued = 1, InFlight = 1 };
        var ended = new StageReport { Name = "decode", Kind = "transform", State = StageState.Completed, EndReason = EndReason.InputEnded, Activity = StageActivity.Ended };

        Assert.Equal("transform 'decode' Running: 12 accepted, 10 delivered, 10 emitted, 1 queued, 1 in work; waits for a slot of 'store'", running.ToString());
        Assert.Equal("transform 'decode' Completed (InputEnded): no items", ended.ToString());
    }

    [Fact]
    public void Workers_AreOneLine()
    {
        var snapshot = new WorkersSnapshot { State = RunState.Running, Waiting = 1, Queued = 2, Running = 3, Succeeded = 4, Failed = 5, Canceled = 6, Restarts = 7, Duration = TimeSpan.FromSeconds(1.5) };

        Assert.Equal("Running after 1.500 s: 1 waiting, 2 queued, 3 running; 4 succeeded, 5 failed, 6 cancelled; 7 restarts", snapshot.ToString());
    }
}
