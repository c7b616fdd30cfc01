using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>What the user code of a child is made with.</summary>
internal sealed class HostSetup(ChildWorker worker, StartRecord start, ItemCodecs codecs, ResultWriter results, TimeProvider time)
{
    public ItemCodecs Codecs => codecs;

    public bool OwnThread => start.OwnThread;

    /// <summary>Whether each item has one attempt, whose time is not measured.</summary>
    public bool HasSimpleItems => start.Retries == 0 && !start.TellsItems;

    public string Stage => start.Stage;

    public TimeProvider Time => time;

    /// <summary>How long foreign code may take to end.</summary>
    public TimeSpan AbortTimeout => TimeSpan.FromTicks(start.AbortTimeout);

    /// <summary>Waits until the code is asked to end; runs its ticks meanwhile.</summary>
    public ValueTask WaitForStopAsync() => worker.WaitForStopAsync();

    /// <summary>Waits until something may have changed.</summary>
    public ValueTask WaitAsync() => results.WaitAsync();

    /// <summary>Wakes the worker when a task has ended, whatever way.</summary>
    public async Task WakeAtEndAsync(Task task)
    {
        await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        worker.Control.Wake();
    }

    /// <summary>Ends the stage early, as completed.</summary>
    public void RequestFinish() => worker.Control.RequestFinish();

    /// <summary>Makes the emitter of an output port; each port has one.</summary>
    public Emitter<T> Output<T>(int port)
    {
        if (typeof(T) == typeof(NoOutput))
            return (Emitter<T>)(object)NullEmitter.Instance;
        var emitter = new ChildEmitter<T>(worker, start, results, (ushort)port, codecs.For<T>());
        worker.Control.Outputs.Add(emitter);
        return emitter;
    }
}
