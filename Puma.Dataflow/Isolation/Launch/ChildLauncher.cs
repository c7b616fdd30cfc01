using System.ComponentModel;
using System.Diagnostics;
using System.Security.Cryptography;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Isolation.Launch;

/// <summary>Starts child processes and waits until they have made contact.</summary>
internal static class ChildLauncher
{
    private const int SecretLength = 32;

    /// <exception cref="ChildStartException">The child did not start, or made no contact in time.</exception>
    /// <exception cref="IsolationNotSupportedException">This program cannot start children.</exception>
    public static async Task<IChildBody> StartAsync(ChildProcessPlacement placement, string stage, Action<bool, string> onLine, CancellationToken cancellationToken)
    {
        if (LaunchCommand.FindProblem() is { } problem)
            throw new IsolationNotSupportedException($"Stage '{stage}' cannot run in a child process: {problem}");
        using var endpoint = ChildEndpoint.Create();
        BlackBox box = CreateBox(endpoint.BlackBoxPath);
        ProcessStartInfo command = LaunchCommand.Make(placement);
        ChildProcess child;
        try
        {
#pragma warning disable RS0030 // This is the launcher: all processes are started here.
            child = await StarterThread.RunAsync(() => new ChildProcess(Process.Start(command)!, box, onLine)).ConfigureAwait(false);
#pragma warning restore RS0030
        }
        catch (Exception error) when (error is Win32Exception or IOException or InvalidOperationException)
        {
            box.Dispose();
            throw new ChildStartException(new ChildExit(0, ChildExitReason.StartFailed, null, null, $"It could not be started: {error.Message} (program '{command.FileName}', directory '{command.WorkingDirectory}'). Is the program still there, and are there enough processes and file descriptors (ulimit -u, -n)?", ""));
        }

        try
        {
            byte[] secret = RandomNumberGenerator.GetBytes(SecretLength);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(placement.StartTimeout);
            var bootstrap = new Bootstrap
            {
                Endpoint = endpoint.Name,
                BlackBoxPath = endpoint.BlackBoxPath,
                Secret = secret,
                ParentProcessId = Environment.ProcessId,
                Stage = stage,
                Library = typeof(ChildLauncher).Module.ModuleVersionId,
            };
            child.Tell(bootstrap);
            Task<(Stream Data, Stream Control)> accepting = endpoint.AcceptAsync(secret, child.ProcessId, limit.Token);
            await Task.WhenAny(accepting, child.Exited).ConfigureAwait(false);
            if (!accepting.IsCompletedSuccessfully)
                await GiveUpAsync(child, limit, accepting, cancellationToken).ConfigureAwait(false);
            (Stream data, Stream control) = await accepting.ConfigureAwait(false);
            child.Connect(data, control, placement.HangTimeout);
            return child;
        }
        catch
        {
            child.Kill(ChildExitReason.StartFailed);
            await child.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private static async Task GiveUpAsync(ChildProcess child, CancellationTokenSource limit, Task accepting, CancellationToken cancellationToken)
    {
        bool hasExited = child.Exited.IsCompleted;
        if (!hasExited)
            child.Kill(ChildExitReason.StartTimedOut);
        await limit.CancelAsync().ConfigureAwait(false);
        await accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancellationToken.ThrowIfCancellationRequested();
        ChildExit exit = await child.Exited.ConfigureAwait(false);
        throw new ChildStartException(hasExited && exit.Reason != ChildExitReason.StartFailed ? exit with { Description = $"It ended before it had made contact. {exit.Description}" } : exit);
    }

    private static BlackBox CreateBox(string path)
    {
        try
        {
            return BlackBox.Create(path);
        }
        catch (IOException error)
        {
            throw new IsolationNotSupportedException($"No file for a child process could be made at '{path}' ({error.Message}). Make room there, or set TMPDIR to another directory.", error);
        }
    }
}
