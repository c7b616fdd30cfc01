using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Launch;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Children that wait without user code, so that a restart takes one of them.</summary>
public sealed partial class SpareChildrenTests : ChildTest
{
    public enum Ending
    {
        Completed,
        Faulted,
        Canceled,

        /// <summary>A handler in the child does not return, so that the children are ended by force.</summary>
        KilledByForce,

        /// <summary>User code in this process does not return.</summary>
        Abandoned,
    }

    // A child has the time to end, however busy the machine is.
    private static ChildProcessPlacement Spared(int spares, Backoff? backoff = null) => Placement.ChildProcess with
    {
        OnLoss = LossPolicy.Restart(backoff: backoff ?? Backoff.None).Replay(),
        StateLoss = StateLoss.Accepted,
        StopGrace = TimeSpan.FromSeconds(20),
        SpareChildren = spares,
    };

    [Fact] // S36
    public async Task ARestart_TakesTheSpare_WhichIsReplaced()
    {
        Expect(40);
        ConcurrentQueue<int> seen = [];
        PipelineRun<int> run = StartTelling(Spared(1), seen);
        await run.Started.Within();
        int child = await TellAsync(run, seen);
        for (int i = 0; i < 3; i++)
        {
            int spare = await SpareAsync(i);
            Assert.Equal(((int[])[child, spare]).Order(), Children().Order());

            Kill(child);
            child = await TellAsync(run, seen);

            Assert.Equal(spare, child);
        }

        await SpareAsync(3);
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal((4, 3L), (seen.Distinct().Count(), report.Stage("tells").Restarts));
        Assert.Equal(seen, Ids(42));
    }

    [Fact] // S36
    public async Task SeveralSpares_AreTakenByThoseThatAreLostTogether_EachForItsInstance()
    {
        Expect(40);
        ConcurrentQueue<string> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(static () => new Speaks(), new() { Name = "speaks", Placement = Spared(2), MaxDegreeOfParallelism = 2 })
            .ForEach(seen.Enqueue));
        int[] spares = [await SpareAsync(0), await SpareAsync(1)];

        foreach (int child in Ids(42))
            Kill(child);
        await Waiting.UntilAsync(() => Ids(42).Count == 4, "others have taken their places");
        await run.SendAsync(1, TestToken);
        await run.SendAsync(2, TestToken);
        await Waiting.UntilAsync(() => seen.Count == 2, "both were handled");
        run.Complete();
        await run.Completion.Within();

        Assert.Equal(spares.Order(), Ids(42).TakeLast(2).Order());
        foreach (string said in seen)
        {
            // Whoever took the place of an instance is that instance, in its log as well.
            string[] parts = said.Split(' ');
            Assert.Contains(Log.Records, r => r.EventId.Id == 42 && r.Message.EndsWith($"process {parts[0]} for its instance {parts[1]}", StringComparison.Ordinal));
            Assert.Contains(Log.Records, r => r.Category == "Runnables.pipeline.speaks" && r.Level == LogLevel.Debug && r.Message == said);
            Assert.Contains(Log.Records, r => r.Category == "Runnables.pipeline.speaks.stdout" && r.Message == said);
        }
    }

    [Fact] // S36
    public async Task ASpareThatDies_HarmsNobody_AndIsReplaced()
    {
        ConcurrentQueue<int> seen = [];
        PipelineRun<int> run = StartTelling(Spared(1), seen);
        int spare = await SpareAsync(0);

        Kill(spare);

        Assert.NotEqual(spare, await SpareAsync(1));
        Assert.Equal(Assert.Single(Ids(42)), await TellAsync(run, seen));
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal((0L, 0), (report.Stage("tells").Restarts, report.SecondaryErrors.Count));
        Assert.Equal([spare], Ids(48));
    }

    [Fact] // S36: it would have been taken after the back-off
    public async Task ASpareThatDiesBeforeItHasUserCode_IsNoLoss()
    {
        Expect(40);
        ConcurrentQueue<int> seen = [];
        int spare = 0;
        PipelineOptions options = Options with
        {
            // A restart is due, and has not begun.
            LoggerFactory = new HookedLog(Log, (_, id) =>
            {
                if (id != 41)
                    return;
                Kill(spare);
                Assert.True(SpinWait.SpinUntil(() => ProcessEnd.HasBegun(spare), Waiting.Limit));
            }),
        };
        PipelineRun<int> run = StartTelling(Spared(1, Backoff.Constant(TimeSpan.FromMilliseconds(1))), seen, options);
        spare = await SpareAsync(0);
        int child = Assert.Single(Ids(42));

        Kill(child);
        int next = await TellAsync(run, seen);

        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal(1, report.Stage("tells").Restarts);
        Assert.Equal([spare], Ids(48));
        Assert.DoesNotContain(next, (int[])[child, spare]);
    }

    [Fact] // S36: whatever of the two is known first
    public async Task ASpareThatDiesWithAChild_IsNoLoss()
    {
        Expect(40);
        ConcurrentQueue<int> seen = [];
        PipelineRun<int> run = StartTelling(Spared(1), seen);
        int spare = await SpareAsync(0);

        Kill(spare);
        await Waiting.UntilAsync(() => ProcessEnd.HasBegun(spare), "the spare child ends");
        Kill(Assert.Single(Ids(42)));
        Assert.NotEqual(spare, await TellAsync(run, seen));
        await SpareAsync(1);

        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal(1, report.Stage("tells").Restarts);
        Assert.Equal([spare], Ids(48));
    }

    [Fact] // S36
    public async Task SparesThatCannotStart_AreTriedAgain_AndTheStageWorks()
    {
        Expect(49);
        string directory = Directory.CreateTempSubdirectory("spares-").FullName;
        ConcurrentQueue<int> seen = [];
        PipelineRun<int> run = StartTelling(Spared(1) with { WorkingDirectory = directory }, seen);
        int spare = await SpareAsync(0);

        Directory.Delete(directory);
        Kill(spare);
        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 49), "many have failed");

        Assert.Equal([spare, 0, 0, 0], Ids(48));
        Assert.Equal(Assert.Single(Ids(42)), await TellAsync(run, seen));
        Directory.CreateDirectory(directory);
        await SpareAsync(1);
        Directory.Delete(directory);
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal((0L, 0), (report.Stage("tells").Restarts, report.SecondaryErrors.Count));
    }

    [Theory] // S36, S21, S27
    [InlineData(Ending.Completed, true)]
    [InlineData(Ending.Completed, false)]
    [InlineData(Ending.Faulted, true)]
    [InlineData(Ending.Faulted, false)]
    [InlineData(Ending.Canceled, true)]
    [InlineData(Ending.Canceled, false)]
    [InlineData(Ending.KilledByForce, true)]
    [InlineData(Ending.KilledByForce, false)]
    [InlineData(Ending.Abandoned, true)]
    [InlineData(Ending.Abandoned, false)]
    public async Task TheEndOfTheStage_IsThatOfItsSpares(Ending ending, bool areReady)
    {
        ExpectFailure();
        Expect(12);
        int sockets = Sockets();
        var held = new Gate();
        ChildProcessPlacement placement = ending == Ending.KilledByForce ? Spared(2) with { StopGrace = TimeSpan.FromMilliseconds(200) } : Spared(2);
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>()
                .Transform(static (x, ct) => EndAsync((Ending)x, ct), new() { Name = "ends", Placement = placement })
                .ForEach(static _ => { }),
            ending != Ending.Abandoned ? Options : Options with { AbortTimeout = TimeSpan.FromSeconds(0.5), OnDiscarded = _ => held.Block() });
        await run.Started.Within();
        if (areReady)
            await SpareAsync(1);
        await run.SendAsync((int)ending, TestToken);

        if (ending == Ending.Completed)
            run.Complete();
        if (ending is Ending.Canceled or Ending.KilledByForce or Ending.Abandoned)
            run.Cancel();
        PipelineReport report = await run.Report.Within();

        Assert.Equal(ending switch { Ending.Completed => RunState.Completed, Ending.Faulted => RunState.Faulted, _ => RunState.Canceled }, report.State);
        Assert.Equal(ending == Ending.Abandoned ? ["ends"] : [], report.Abandoned);
        if (ending == Ending.Abandoned)
            await Waiting.UntilAsync(() => Children().Count == 0, "all children are gone while user code still holds the stage");
        else
            Assert.Empty(Children());
        held.Open();
        await Waiting.UntilAsync(() => Sockets() <= sockets, "no connection is left");
        Assert.Empty(Ids(48));
    }

    private static async Task<int> EndAsync(Ending ending, CancellationToken cancellationToken)
    {
        if (ending == Ending.Faulted)
            throw new InvalidOperationException("as wanted");
        if (ending != Ending.Completed)
            await Task.Delay(Timeout.Infinite, ending == Ending.KilledByForce ? CancellationToken.None : cancellationToken);
        return 0;
    }

    [Fact] // S10
    public async Task AStageThatHasNoMoreInput_EndsBeforeTheRunHasStarted()
    {
        var gate = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Transform(static _ => Environment.ProcessId, new() { Name = "tells", Placement = Spared(1) })
            .Then(() => new StartsLate(gate), new() { Name = "late" })
            .ForEach(static _ => { }));
        await Waiting.UntilAsync(() => run.Snapshot().Stage("tells").State == StageState.Running, "the child has started");

        run.Complete();
        await Waiting.UntilAsync(() => run.Snapshot().Stage("tells").State == StageState.Completed, "the stage with the spare has ended");
        gate.Open();

        Assert.Equal(RunState.Completed, (await run.Completion.Within()).State);
        Assert.Empty(Ids(47));
    }

    [Fact] // S39
    public async Task WhenTheParentIsKilled_ItsSpareEnds()
    {
        string temporary = Directory.CreateTempSubdirectory("spares-").FullName;
        using Process parent = Process.Start(ParentProgram.Command(ParentEnd.Spare, temporary))!;
        try
        {
            string? line = await parent.StandardOutput.ReadLineAsync(TestToken).AsTask().Within();
            int spare = int.Parse(Number().Match(line!).Value, CultureInfo.InvariantCulture);
            Assert.True(Directory.Exists($"/proc/{spare}"));

            parent.Kill();
            await parent.WaitForExitAsync(TestToken).Within();

            await Waiting.UntilAsync(() => !IsAlive(spare), "the spare child has ended");
            await Waiting.UntilAsync(() => Left().Length == 0, () => $"nothing is left, but there are {string.Join(", ", Left())}");
        }
        finally
        {
            parent.Kill();
            Directory.Delete(temporary, recursive: true);
        }

        // The files of the parent's own runtime stay.
        string[] Left() => [.. Directory.GetFileSystemEntries(temporary).Where(path => !path.Contains($"-{parent.Id}-", StringComparison.Ordinal))];
    }

    [Fact]
    public async Task NoneAreStarted_UnlessTheyAreAskedFor()
    {
        Expect(40);
        ConcurrentQueue<int> seen = [];
        PipelineRun<int> run = StartTelling(Spared(0), seen);
        await run.Started.Within();
        Assert.Equal(Assert.Single(Children()), await TellAsync(run, seen));
        Kill(seen.First());
        Assert.NotEqual(seen.First(), await TellAsync(run, seen));
        Assert.Equal(seen.ElementAt(1), Assert.Single(Children()));

        run.Complete();
        await run.Completion.Within();
        Assert.Empty(Ids(47));
    }

    [Theory]
    [InlineData(-1, true, "from 0 to 64")]
    [InlineData(65, true, "from 0 to 64")]
    [InlineData(1, false, "OnLoss never restarts")]
    public void WhatMakesNoSense_IsRefused(int spares, bool restarts, string problem)
    {
        PipelineEnd<int> end = Pipeline.Accept<int>()
            .Transform(static x => x, new() { Name = "far", Placement = Spared(spares) with { OnLoss = restarts ? LossPolicy.Restart() : LossPolicy.Fault } })
            .ForEach(static _ => { });

        string message = Assert.Throws<PipelineBuildException>(() => end.Build(Options)).Message;

        Assert.Contains($"'far': SpareChildren is {spares}", message, StringComparison.Ordinal);
        Assert.Contains(problem, message, StringComparison.Ordinal);
    }

    private sealed class StartsLate(Gate gate) : Runnable<int, int>
    {
        protected override async ValueTask OnStartAsync(CancellationToken cancellationToken) => await gate.WaitAsync(cancellationToken);

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);
    }

    [GeneratedRegex(@"(?<=process )\d+")]
    private static partial Regex ProcessId();

    [GeneratedRegex(@"\d+")]
    private static partial Regex Number();

    /// <summary>Starts a stage that tells its process.</summary>
    private PipelineRun<int> StartTelling(ChildProcessPlacement placement, ConcurrentQueue<int> seen, PipelineOptions? options = null) => Start(Pipeline.Accept<int>()
        .Transform(static _ => Environment.ProcessId, new() { Name = "tells", Placement = placement })
        .ForEach(seen.Enqueue), options);

    /// <summary>Has the stage tell its process.</summary>
    private static async Task<int> TellAsync(PipelineRun<int> run, ConcurrentQueue<int> seen)
    {
        int before = seen.Count;
        await run.SendAsync(0, TestToken);
        await Waiting.UntilAsync(() => seen.Count > before, "the child has told its process");
        return seen.Last();
    }

    /// <summary>Waits until so many spare children were ready before, and another one.</summary>
    private async Task<int> SpareAsync(int before)
    {
        await Waiting.UntilAsync(() => Ids(47).Count > before, "a spare child is ready");
        return Ids(47)[before];
    }

    /// <summary>The processes of which an event tells, in order.</summary>
    private List<int> Ids(int eventId) =>
        [.. Log.Records.Where(r => r.EventId.Id == eventId).Select(static r => int.Parse(ProcessId().Match(r.Message).Value, CultureInfo.InvariantCulture))];

    private static int Sockets() => Directory.GetFiles("/proc/self/fd").Count(static path => new FileInfo(path).LinkTarget?.StartsWith("socket:", StringComparison.Ordinal) == true);

    private static bool IsAlive(int process)
    {
        try
        {
            return !File.ReadAllText($"/proc/{process}/stat").Contains(") Z ", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>Tells its process and its instance, in its result, its log and its standard output.</summary>
    private sealed class Speaks : Runnable<int, string>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            string said = $"{Environment.ProcessId} {Context.Instance}";
            Context.Logger.LogDebug("{Said}", said);
            Console.WriteLine(said);
            return EmitAsync(said, cancellationToken);
        }
    }
}
