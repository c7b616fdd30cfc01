using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Isolation.Worker;

namespace Puma.Dataflow.Isolation.Supervision;

/// <summary>The other end of an isolated stage in this process: the same worker, frames and codec, without a process.</summary>
internal sealed class LoopbackBody : IChildBody
{
    private readonly DuplexStream _workerData;
    private readonly DuplexStream _workerControl;

    public LoopbackBody(TimeProvider time)
    {
        (Data, _workerData) = DuplexStream.CreatePair();
        (Control, _workerControl) = DuplexStream.CreatePair();
        Exited = RunAsync(time);
    }

    public int ProcessId => Environment.ProcessId;

    public Stream Data { get; }

    public Stream Control { get; }

    public Task<ChildExit> Exited { get; }

    public bool IsEnding => Exited.IsCompleted;

    /// <summary>Nothing of it outlives this process.</summary>
    public LastLog ReadLogAfter(long number) => LastLog.None;

    public long ItemInWork => 0;

    public void ExpectStop() { }

    public void Terminate(ChildExitReason because) => Kill(because);

    public void Kill(ChildExitReason because, string? why = null)
    {
        // User code in this process cannot be killed; it sees its tokens fire.
        Data.Dispose();
        Control.Dispose();
    }

    public Task LeaveAsync()
    {
        Kill(ChildExitReason.Stopped);
        return Exited;
    }

    public ValueTask DisposeAsync() => new(LeaveAsync());

    private async Task<ChildExit> RunAsync(TimeProvider time)
    {
        try
        {
            await Task.Run(() => ChildWorker.RunAsync(_workerData, _workerControl, mark: null, ring: null, time)).ConfigureAwait(false);
            return new ChildExit(ProcessId, ChildExitReason.Stopped, 0, null, "It ended after it was asked to.", "");
        }
        catch (Exception error)
        {
            return new ChildExit(ProcessId, ChildExitReason.Crashed, null, null, $"Its worker failed: {error}", "");
        }
        finally
        {
            await _workerData.DisposeAsync().ConfigureAwait(false);
            await _workerControl.DisposeAsync().ConfigureAwait(false);
        }
    }
}
