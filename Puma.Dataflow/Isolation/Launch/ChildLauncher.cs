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
    public static async Task<IChildBody> StartAsync(ChildProcessPlacement placement, string stage, Action<int, bool, string> onLine, CancellationToken cancellationToken)
    {
        if (LaunchCommand.FindProblem() is { } problem)
            throw new IsolationNotSupportedException($"Stage '{stage}' cannot run in a child process: {problem}");
        string name = ChildEndpoint.NewName();
        ProcessStartInfo command = LaunchCommand.Make(placement, name, out IReadOnlyDictionary<string, string?> before);

        // The child first: should this process end now, somebody knows what there is to remove.
        ChildProcess child = await StartAsync(command, onLine).ConfigureAwait(false);
        try
        {
            using var endpoint = ChildEndpoint.Create(name);
            BlackBox box = CreateBox(endpoint.BlackBoxName);
            byte[] secret = RandomNumberGenerator.GetBytes(SecretLength);
            child.Tell(box, new Bootstrap
            {
                BlackBoxName = endpoint.BlackBoxName,
                Secret = secret,
                ParentProcessId = Environment.ProcessId,
                EnvironmentBefore = before,
                Library = typeof(ChildLauncher).Module.ModuleVersionId,
            });
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(placement.StartTimeout);
            Task<(Stream Data, Stream Control)> accepting = endpoint.AcceptAsync(secret, child.ProcessId, limit.Token);
            if (await Task.WhenAny(accepting, child.Exited).ConfigureAwait(false) != accepting)
                await limit.CancelAsync().ConfigureAwait(false);
            try
            {
                (Stream data, Stream control) = await accepting.ConfigureAwait(false);
                child.Connect(data, control, placement.HangTimeout);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw new ChildStartException(await EndAsync(child).ConfigureAwait(false));
            }

            return child;
        }
        catch
        {
            child.Kill(ChildExitReason.StartFailed);
            await child.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <param name="command">What is started.</param>
    /// <param name="onLine">Hears what the child writes.</param>
    private static async Task<ChildProcess> StartAsync(ProcessStartInfo command, Action<int, bool, string> onLine)
    {
        try
        {
            return await StarterThread.RunAsync(() => ChildProcess.Start(command, onLine)).ConfigureAwait(false);
        }
        catch (Exception error) when (error is Win32Exception or IOException or InvalidOperationException)
        {
            throw new ChildStartException(new ChildExit(0, ChildExitReason.StartFailed, null, null, $"It could not be started: {error.Message} (program '{command.FileName}', directory '{command.WorkingDirectory}'). Is the program still there, and are there enough processes and file descriptors (ulimit -u, -n)?", ""));
        }
    }

    /// <summary>Ends a child that has made no contact.</summary>
    private static async Task<ChildExit> EndAsync(ChildProcess child)
    {
        bool hasExited = child.Exited.IsCompleted;
        child.Kill(ChildExitReason.StartTimedOut);
        ChildExit exit = await child.Exited.ConfigureAwait(false);
        return hasExited && exit.Reason != ChildExitReason.StartFailed ? exit with { Description = $"It ended before it had made contact. {exit.Description}" } : exit;
    }

    private static BlackBox CreateBox(string name)
    {
        try
        {
            return BlackBox.Create(name);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new IsolationNotSupportedException($"No file for a child process could be made at '{name}' ({error.Message}). Make room there, or set TMPDIR to another directory.", error);
        }
    }
}
