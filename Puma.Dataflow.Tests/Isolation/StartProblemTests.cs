using System.Diagnostics;
using System.Reflection;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>When no child can be started, the error says why and what to do.</summary>
[Collection(ChildrenAlone.Name)]
public sealed class StartProblemTests : IDisposable
{
    private const string HookSwitch = "System.StartupHookProvider.IsSupported";

    private readonly string _temporary = Directory.CreateTempSubdirectory("start").FullName;

    public void Dispose() => Directory.Delete(_temporary, recursive: true);

    [Fact]
    public async Task TheProgramIsGone()
    {
        // The executable finds its assembly by name beside it, so a copy of it is the same program.
        string original = Path.ChangeExtension(Assembly.GetExecutingAssembly().Location, null);
        string copy = original + "-copy-" + Guid.NewGuid().ToString("N");
        File.Copy(original, copy);
        try
        {
            string told = await TellAsync(ParentProgram.Command(ParentEnd.Tell, _temporary, copy), beforeStart: () => File.Delete(copy));

            Assert.StartsWith("ChildProcessLostException", told, StringComparison.Ordinal);
            Assert.Contains("could not be started", told, StringComparison.Ordinal);
            Assert.Contains("Is the program still there", told, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(copy);
        }
    }

    [Fact]
    public async Task TheTemporaryFolderCannotBeWritten()
    {
        string told = await TellAsync(ParentProgram.Command(ParentEnd.Tell, "/proc"));

        Assert.StartsWith("IsolationNotSupportedException", told, StringComparison.Ordinal);
        Assert.Contains("Set TMPDIR", told, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheTemporaryFolderIsFull()
    {
        ProcessStartInfo command = ParentProgram.Command(ParentEnd.Tell, _temporary);
        string[] program = [command.FileName, .. command.ArgumentList];
        command.FileName = "unshare";
        command.ArgumentList.Clear();
        foreach (string argument in (string[])["--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs \"$TMPDIR\" || exit 77; dd if=/dev/zero of=\"$TMPDIR/fill\" bs=4k 2>/dev/null; exec \"$@\"", "sh", .. program])
            command.ArgumentList.Add(argument);

        string told = await TellAsync(command);

        Assert.SkipWhen(told.Length == 0, "This system allows no file systems of one's own (unshare, mount), so there is no full folder to try.");
        Assert.StartsWith("IsolationNotSupportedException", told, StringComparison.Ordinal);
        Assert.Contains("TMPDIR", told, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheTemporaryFolderHasTooLongANameForASocket_AnotherIsUsed()
    {
        string path = Path.Combine(_temporary, new string('x', 100));
        Directory.CreateDirectory(path);
        string[] before = Directory.GetDirectories("/tmp", "puma-*");

        Assert.Equal("started", await TellAsync(ParentProgram.Command(ParentEnd.Tell, path)));
        Assert.Empty(Directory.GetDirectories("/tmp", "puma-*").Except(before));
    }

    [Fact]
    public void HooksAreTurnedOff_BuildSaysSo()
    {
        AppContext.SetSwitch(HookSwitch, false);
        try
        {
            var error = Assert.Throws<PipelineBuildException>(() => Pipeline.From([1]).Transform(static x => x, new() { Name = "far", Placement = Placement.ChildProcess }).ForEach(static _ => { }).Build());

            Assert.Contains("'far'", error.Message, StringComparison.Ordinal);
            Assert.Contains("PumaWorker.RunIfChild()", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            AppContext.SetSwitch(HookSwitch, true);
        }
    }

    [Fact] // the explicit way, for programs without hooks
    public async Task HooksAreTurnedOff_ButMainIsPrepared()
    {
        ProcessStartInfo command = ParentProgram.Command(ParentEnd.Tell, _temporary);
        command.Environment[ParentProgram.Explicit] = "1";

        Assert.Equal("started by Main", await TellAsync(command));
    }

    /// <returns>What the program said of its start; empty when it did not get so far.</returns>
    private static async Task<string> TellAsync(ProcessStartInfo command, Action? beforeStart = null)
    {
        using Process program = Process.Start(command)!;
        try
        {
            string? line = await program.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().Within();
            if (line is null)
                return "";
            Assert.Equal("waiting", line);
            beforeStart?.Invoke();
            await program.StandardInput.WriteLineAsync();
            string told = await program.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().Within() ?? "";
            await program.WaitForExitAsync(TestContext.Current.CancellationToken).Within();
            return told;
        }
        finally
        {
            program.Kill();
        }
    }
}
