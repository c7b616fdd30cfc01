using System.Diagnostics;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>A child that is killed from outside, whatever it does at that moment: its owner, those that send and those that read know it, with how it ended.</summary>
public sealed class KillTests : ChildTest
{
    public enum Moment
    {
        Starting,
        Idle,
        InAHandler,
        Completing,
        Ending,
    }

    [Theory] // S37
    [InlineData(Moment.Starting)]
    [InlineData(Moment.Idle)]
    [InlineData(Moment.InAHandler)]
    [InlineData(Moment.Completing)]
    [InlineData(Moment.Ending)]
    public async Task Kill_IsKnownWithItsSignal(Moment moment)
    {
        ExpectFailure();
        Expect(40);
        await using var gate = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(static o => new Waits(o), new WaitsOptions(moment, gate.Path), new() { Name = "waits", Placement = Placement.ChildProcess with { StopGrace = TimeSpan.FromSeconds(20) } })
            .ForEach(static _ => { }));
        if (moment != Moment.Starting)
            await run.Started.Within();
        if (moment == Moment.InAHandler)
            await run.SendAsync(1, TestToken);
        if (moment is Moment.Completing or Moment.Ending)
            run.Complete();
        if (moment != Moment.Idle)
            await gate.ReachedAsync();
        int child = Assert.Single(Children());

        Kill(child);

        if (moment == Moment.Starting)
            await Assert.ThrowsAsync<StageFaultedException>(() => run.Started.Within());
        ChildProcessLostException lost;
        if (moment == Moment.Ending)
        {
            // Everything was handled, so the outcome stays.
            PipelineReport report = await run.Completion.Within();
            lost = Assert.IsType<ChildProcessLostException>(Assert.Single(report.SecondaryErrors).InnerException);
        }
        else
        {
            StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
            lost = Assert.IsType<ChildProcessLostException>(fault.InnerException);
            Assert.Equal(("waits", (long?)(moment == Moment.InAHandler ? 1 : null)), (fault.Stage, fault.ItemNumber));
            Assert.Equal(child, fault.ProcessId);
        }

        Assert.Equal((child, ChildExitReason.Killed, 137, "SIGKILL"), (lost.Exit.ProcessId, lost.Exit.Reason, lost.Exit.ExitCode, lost.Exit.Signal));
    }

    [Fact] // S37, S9: with calls pending
    public async Task Kill_ReleasesWhoSendsAndWhoReads()
    {
        ExpectFailure();
        Expect(40);
        await using var gate = new Gate();
        IPropagatorBlock<int, int> block = Pipeline.Accept<int>(new() { BoundedCapacity = 2 })
            .Then(static o => new Waits(o), new WaitsOptions(Moment.InAHandler, gate.Path), new() { Name = "waits", BoundedCapacity = 2, Placement = Placement.ChildProcess })
            .AsBlock(Options);
        Task<int> receiving = block.ReceiveAsync(TestToken);
        List<Task<bool>> sends = [.. Enumerable.Range(1, 10).Select(i => block.SendAsync(i, TestToken))];
        await gate.ReachedAsync();
        Assert.Contains(sends, static s => !s.IsCompleted);

        Kill(Assert.Single(Children()));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => block.Completion.Within());
        Assert.IsType<ChildProcessLostException>(fault.InnerException);
        bool[] accepted = await Task.WhenAll(sends).Within();
        Assert.Equal(2, accepted.Count(static a => a));
        await Assert.ThrowsAsync<InvalidOperationException>(() => receiving.Within());
    }

    [Fact] // S36, S37: nobody waits for a child that dies with nothing to do; the next one takes its place
    public async Task Kill_WhileIdle_IsRestarted_AndNothingIsLost()
    {
        Expect(40);
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Transform(static x => x * 2, new() { Name = "double", Placement = Placement.ChildProcess with { OnLoss = LossPolicy.Restart().Replay() } })
            .ForEach(seen.Add));
        for (int i = 1; i <= 3; i++)
        {
            await run.SendAsync(i, TestToken);
            await Waiting.UntilAsync(() => seen.Count == i, "the item has arrived");
            int child = Assert.Single(Children());
            Kill(child);
            await Waiting.UntilAsync(() => Children() is [var other] && other != child, "another child runs");
        }

        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([2, 4, 6], seen);
        Assert.Equal(3, report.Stage("double").Restarts);
    }

    /// <summary>A file that a child writes when it has reached a certain point.</summary>
    private sealed class Gate : IAsyncDisposable
    {
        public string Path { get; } = System.IO.Path.GetTempFileName();

        public Task ReachedAsync() => Waiting.UntilAsync(() => new FileInfo(Path).Length > 0, "the child is where the test wants it");

        public ValueTask DisposeAsync()
        {
            File.Delete(Path);
            return default;
        }
    }

    private sealed record WaitsOptions(Moment Moment, string Path);

    /// <summary>Waits for ever at one moment of its life.</summary>
    private sealed class Waits : Runnable<int, int>
    {
        private readonly WaitsOptions _options;

        public Waits(WaitsOptions options)
        {
            _options = options;
            if (Is(Moment.Starting))
                Thread.Sleep(Timeout.Infinite);
        }

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (Is(Moment.InAHandler))
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
        }

        protected override async ValueTask OnCompletedAsync(CancellationToken cancellationToken)
        {
            if (Is(Moment.Completing))
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
        }

        protected override async ValueTask OnEndAsync(RunState outcome, Exception? cause)
        {
            if (Is(Moment.Ending))
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
        }

        private bool Is(Moment moment)
        {
            if (_options.Moment != moment)
                return false;
            File.WriteAllText(_options.Path, "here");
            return true;
        }
    }
}
