using System.Diagnostics;
using Puma.Dataflow.Isolation;
using Puma.Dataflow.Isolation.Launch;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>A child process from its start to its end: nothing of it is left, and it ends in good order when it can.</summary>
public sealed class LaunchTests : ChildTest
{
    [Fact] // S1: what user code does at the end of its process is done
    public async Task Dispose_LetsTheChildEndByItself()
    {
        IChildBody body = await StartAsync();

        await body.DisposeAsync().Within();

        ChildExit exit = await body.Exited.Within();
        Assert.Equal((ChildExitReason.Stopped, 0), (exit.Reason, exit.ExitCode));
    }

    [Fact] // S37
    public async Task AKill_OfAChildThatOthersHaveKilled_IsNotTheCauseOfItsEnd()
    {
        IChildBody body = await StartAsync();
        Kill(body.ProcessId);
        Assert.True(SpinWait.SpinUntil(() => ProcessEnd.HasBegun(body.ProcessId), Waiting.Limit));

        body.Kill(ChildExitReason.ProtocolViolated);

        ChildExit exit = await body.Exited.Within();
        Assert.Equal((ChildExitReason.Killed, "SIGKILL"), (exit.Reason, exit.Signal));
        await body.DisposeAsync().Within();
    }

    [Fact]
    public async Task Children_LeaveNoDescriptors()
    {
        await (await StartAsync()).DisposeAsync();
        HashSet<string> before = Descriptors();
        for (int i = 0; i < 3; i++)
        {
            IChildBody body = await StartAsync();
            Assert.NotEmpty(Descriptors().Except(before));
            await body.DisposeAsync().Within();
        }

        Assert.Empty(Descriptors().Except(before));
    }

    [Fact]
    public async Task AStartThatIsGivenUp_LeavesNothing()
    {
        await (await StartAsync()).DisposeAsync();
        HashSet<string> before = Descriptors();
        using var canceled = new CancellationTokenSource();
        await canceled.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => ChildLauncher.StartAsync(Placement.ChildProcess, "stage", static (_, _, _) => { }, canceled.Token).Within());
        ChildStartException late = await Assert.ThrowsAsync<ChildStartException>(() => ChildLauncher.StartAsync(Placement.ChildProcess with { StartTimeout = TimeSpan.FromTicks(1) }, "stage", static (_, _, _) => { }, TestToken).Within());

        Assert.Equal(ChildExitReason.StartTimedOut, late.Exit.Reason);
        Assert.Empty(Descriptors().Except(before));
    }

    [Fact]
    public async Task AProgramThatEndsBeforeItMadeContact_IsToldWithItsOutput()
    {
        // The runtime refuses to start with a hook that does not exist, before any of our code runs.
        ChildProcessPlacement broken = Placement.ChildProcess with { Environment = new Dictionary<string, string?> { ["DOTNET_STARTUP_HOOKS"] = "/no/such/hook.dll" } };

        ChildStartException error = await Assert.ThrowsAsync<ChildStartException>(() => ChildLauncher.StartAsync(broken, "stage", static (_, _, _) => { }, TestToken).Within());

        Assert.Contains("before it had made contact", error.Exit.Description, StringComparison.Ordinal);
        Assert.Contains("/no/such/hook.dll", error.Exit.StandardError, StringComparison.Ordinal);
    }

    [Fact] // whatever is set for one child alone is told apart from what its own children shall see
    public void Command_TellsWhatItSets()
    {
        var placement = Placement.ChildProcess with { MemoryLimit = 0x1000_0000, Environment = new Dictionary<string, string?> { ["DOTNET_STARTUP_HOOKS"] = "mine", ["DOTNET_GCHeapHardLimit"] = "20000000" } };

        ProcessStartInfo command = LaunchCommand.Make(placement, "endpoint", out IReadOnlyDictionary<string, string?> before);

        Assert.Equal("mine:Puma.Dataflow", command.Environment["DOTNET_STARTUP_HOOKS"]);
        Assert.Equal(("0", "10000000"), (command.Environment["DOTNET_gcServer"], command.Environment["DOTNET_GCHeapHardLimit"]));
        Assert.Equal(("mine", "20000000", null), (before["DOTNET_STARTUP_HOOKS"], before["DOTNET_GCHeapHardLimit"], before["PUMA_CHILD"]));
    }

    [Fact]
    public void Command_WhenMainIsPrepared_LeavesTheHooksAlone()
    {
        LaunchCommand.IsMainPrepared = true;
        try
        {
            ProcessStartInfo command = LaunchCommand.Make(Placement.ChildProcess with { Environment = new Dictionary<string, string?> { ["DOTNET_STARTUP_HOOKS"] = "mine" } }, "endpoint", out IReadOnlyDictionary<string, string?> before);

            Assert.Equal("mine", command.Environment["DOTNET_STARTUP_HOOKS"]);
            Assert.DoesNotContain("DOTNET_STARTUP_HOOKS", before.Keys);
        }
        finally
        {
            LaunchCommand.IsMainPrepared = false;
        }
    }

    [Fact]
    public void Command_WhatTheUserSets_IsKept()
    {
        var wanted = new Dictionary<string, string?> { ["DOTNET_gcServer"] = "1", ["CORECLR_ENABLE_PROFILING"] = "1" };

        ProcessStartInfo command = LaunchCommand.Make(Placement.ChildProcess with { Environment = wanted }, "endpoint", out IReadOnlyDictionary<string, string?> before);

        Assert.Equal(("1", "1"), (command.Environment["DOTNET_gcServer"], command.Environment["CORECLR_ENABLE_PROFILING"]));
        Assert.DoesNotContain("DOTNET_gcServer", before.Keys);
    }

    [Fact]
    public async Task Child_SeesNothingThatWasSetForItsStart()
    {
        List<string?> seen = [];
        PipelineRun run = Start(Pipeline.From(["DOTNET_gcServer", "DOTNET_GCHeapHardLimit", "DOTNET_STARTUP_HOOKS", "PUMA_CHILD", "PUMA_CHILD_DEPTH"])
            .Transform(static name => Environment.GetEnvironmentVariable(name) ?? "none", new() { Placement = Placement.ChildProcess with { MemoryLimit = 200 * 1024 * 1024 } })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(["none", "none", "none", "none", "1"], seen);
    }

    [Fact]
    public void BlackBox_ShowsWhatTheChildWrites()
    {
        string path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        using BlackBox here = BlackBox.Create(path), there = BlackBox.Open(path);
        File.Delete(path);
        Assert.Equal((0, 0, ""), (here.Beats, here.Item, here.LastWords));

        there.Beat();
        there.Begin(7);
        there.SayLastWords(new string('x', 100_000));

        Assert.Equal((1, 7), (here.Beats, here.Item));
        Assert.InRange(here.LastWords.Length, 1000, 100_000);
        there.End();
        Assert.Equal(0, here.Item);
    }

    private static async Task<IChildBody> StartAsync() => await ChildLauncher.StartAsync(Placement.ChildProcess, "stage", static (_, _, _) => { }, TestToken).Within();

    /// <summary>The pipes and sockets of this process.</summary>
    private static HashSet<string> Descriptors()
    {
        HashSet<string> open = [];
        foreach (string entry in Directory.GetFiles("/proc/self/fd"))
        {
            try
            {
                if (File.ResolveLinkTarget(entry, returnFinalTarget: false)?.Name is { } target && (target.StartsWith("pipe:", StringComparison.Ordinal) || target.StartsWith("socket:", StringComparison.Ordinal)))
                    open.Add(target);
            }
            catch (IOException)
            {
                // Closed meanwhile.
            }
        }

        return open;
    }
}
