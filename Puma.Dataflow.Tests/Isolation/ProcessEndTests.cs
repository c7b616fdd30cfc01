using System.Diagnostics;
using System.Globalization;
using Puma.Dataflow.Isolation.Launch;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>
/// A child that was killed from outside was said to have broken the protocol, when the news of its end came later than half a second after
/// the end of its connections: it was killed once more, and that was taken for the cause.
/// </summary>
public sealed class ProcessEndTests : ChildTest
{
    [Fact] // S37
    public async Task AProcessThatHasEnded_AndThatNobodyHasHeardOf_HasEnded()
    {
        if (!OperatingSystem.IsLinux())
            Assert.Skip("Only Linux tells.");

        // The shell becomes a program that never asks for its child, so the child stays where it is when it has ended. It must not end before: the
        // shell would ask.
        using var parent = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", "exec 3<&0; cat <&3 & echo $!; exec sleep 600"]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        try
        {
            int child = int.Parse((await parent.StandardOutput.ReadLineAsync(TestToken).AsTask().Within())!, CultureInfo.InvariantCulture);
            await Waiting.UntilAsync(() => File.ReadAllText($"/proc/{parent.Id}/comm").StartsWith("sleep", StringComparison.Ordinal), "the shell has become the other program");
            Assert.False(ProcessEnd.HasBegun(child));
            parent.StandardInput.Close();

            await Waiting.UntilAsync(() => ProcessEnd.HasBegun(child), "the child has ended");
            Assert.True(Directory.Exists($"/proc/{child}"));
            Assert.False(ProcessEnd.HasBegun(parent.Id));
        }
        finally
        {
            parent.Kill();
            await parent.WaitForExitAsync(TestToken).Within();
        }

        Assert.True(ProcessEnd.HasBegun(parent.Id));
        Assert.False(ProcessEnd.HasBegun(Environment.ProcessId));
    }
}
