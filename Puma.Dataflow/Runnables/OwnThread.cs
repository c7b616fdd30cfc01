using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Puma.Dataflow.Control;

namespace Puma.Dataflow.Runnables;

/// <summary>
/// A background thread that runs all callbacks of one instance, continuations of its awaits included (unless they ask not to with
/// <c>ConfigureAwait(false)</c>). Callbacks may block it.
/// </summary>
internal sealed class OwnThread : SynchronizationContext, IDisposable
{
    private readonly BlockingCollection<(SendOrPostCallback Callback, object? State)> _queue = [];

    public OwnThread(string name)
    {
        var thread = new Thread(Run) { Name = name, IsBackground = true };
        thread.Start();
    }

    /// <summary>Makes a thread and runs a first callback on it. When that fails, the thread ends: what has not started is not ended either.</summary>
    public static async ValueTask<OwnThread> StartAsync(string name, Func<ValueTask> start)
    {
        var thread = new OwnThread(name);
        try
        {
            await thread.InvokeAsync(start).ConfigureAwait(false);
            return thread;
        }
        catch
        {
            thread.Dispose();
            throw;
        }
    }

    public override void Post(SendOrPostCallback d, object? state)
    {
        try
        {
            _queue.Add((d, state));
        }
        catch (InvalidOperationException)
        {
            // The thread has ended because its runnable has. What a runnable left running goes on on the pool, as without a thread of its own.
            base.Post(d, state);
        }
    }

    public override void Send(SendOrPostCallback d, object? state) =>
        throw new NotSupportedException("A runnable's own thread takes no synchronous calls; use Post.");

    /// <summary>Runs a callback on the thread.</summary>
    public ValueTask InvokeAsync(Func<ValueTask> callback)
    {
        // A callback that calls another one, as an emit does with a tick.
        if (Current == this)
            return callback();
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(static state =>
        {
            (Func<ValueTask> call, TaskCompletionSource source, ExecutionContext? flow) = ((Func<ValueTask>, TaskCompletionSource, ExecutionContext?))state!;

            // The callback runs in the flow of its stage, as without a thread of its own: by it, it is known for the instance's.
            if (flow is null)
                _ = CompleteAsync(call, source);
            else
                ExecutionContext.Run(flow, _ => _ = CompleteAsync(call, source), null);
        }, (callback, done, ExecutionContext.Capture()));
        return new ValueTask(done.Task);
    }

    /// <summary>Ends the thread when it has run what was posted.</summary>
    public void Dispose() => _queue.CompleteAdding();

    // Its awaits keep the context on purpose: everything up to the end of the callback runs on the thread.
    private static async Task CompleteAsync(Func<ValueTask> call, TaskCompletionSource source)
    {
        try
        {
            await call().ConfigureAwait(true);
            source.SetResult();
        }
        catch (Exception error)
        {
            source.SetException(error);
        }
    }

    private void Run()
    {
        SetSynchronizationContext(this);
        while (RunNext())
        {
        }
    }

    /// <summary>Waits for a callback and runs it. In a frame of its own, so that the thread does not keep the last one, and the item in it, while it waits.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool RunNext()
    {
        if (!_queue.TryTake(out (SendOrPostCallback Callback, object? State) next, Timeout.Infinite))
            return false;
        next.Callback(next.State);
        return true;
    }
}

/// <summary>Runs the callbacks of a handler on a thread of its own.</summary>
internal sealed class OwnThreadHandler<TIn, TOut>(Func<ItemHandler<TIn, TOut>> make, string threadName) : ItemHandler<TIn, TOut>
{
    private OwnThread? _thread;
    private ItemHandler<TIn, TOut>? _inner;

    public override async ValueTask StartAsync(StageContext context, Emitter<TOut> output, CancellationToken cancellationToken)
    {
        _thread = await OwnThread.StartAsync(threadName, () =>
        {
            _inner = make();
            return _inner.StartAsync(context, output, cancellationToken);
        }).ConfigureAwait(false);
    }

    public override bool EmitsLast => _inner!.EmitsLast;

    public override bool HasCommands => _inner!.HasCommands;

    public override ValueTask HandleAsync(TIn item, Emitter<TOut> output, CancellationToken cancellationToken) =>
        _thread!.InvokeAsync(() => _inner!.HandleAsync(item, output, cancellationToken));

    public override ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken) =>
        _thread!.InvokeAsync(() => _inner!.RunCommandAsync(command, instance, cancellationToken));

    public override ValueTask TickAsync(CancellationToken cancellationToken) =>
        _thread!.InvokeAsync(() => _inner!.TickAsync(cancellationToken));

    public override ValueTask CompletedAsync(CancellationToken cancellationToken) =>
        _thread!.InvokeAsync(() => _inner!.CompletedAsync(cancellationToken));

    public override async ValueTask EndAsync(RunState outcome, Exception? cause)
    {
        try
        {
            await _thread!.InvokeAsync(() => _inner?.EndAsync(outcome, cause) ?? default).ConfigureAwait(false);
        }
        finally
        {
            _thread!.Dispose();
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        _thread?.Dispose();
    }

    public override void Redirect(Emitter<TOut> output) => _inner?.Redirect(output);
}

/// <summary>Runs the callbacks of a source on a thread of its own.</summary>
internal sealed class OwnThreadBody<TOut>(Func<SourceBody<TOut>> make, string threadName) : SourceBody<TOut>
{
    private OwnThread? _thread;
    private SourceBody<TOut>? _inner;

    public override async ValueTask StartAsync(StageContext context, Emitter<TOut> output, CancellationToken cancellationToken)
    {
        _thread = await OwnThread.StartAsync(threadName, () =>
        {
            _inner = make();
            return _inner.StartAsync(context, output, cancellationToken);
        }).ConfigureAwait(false);
    }

    public override ValueTask ProduceAsync(Emitter<TOut> output, CancellationToken stopToken) =>
        _thread!.InvokeAsync(() => _inner!.ProduceAsync(output, stopToken));

    public override ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken) =>
        _thread!.InvokeAsync(() => _inner!.RunCommandAsync(command, instance, cancellationToken));

    public override ValueTask TickAsync(CancellationToken cancellationToken) =>
        _thread!.InvokeAsync(() => _inner!.TickAsync(cancellationToken));

    public override ValueTask CompletedAsync(CancellationToken cancellationToken) =>
        _thread!.InvokeAsync(() => _inner!.CompletedAsync(cancellationToken));

    public override async ValueTask EndAsync(RunState outcome, Exception? cause)
    {
        try
        {
            await _thread!.InvokeAsync(() => _inner?.EndAsync(outcome, cause) ?? default).ConfigureAwait(false);
        }
        finally
        {
            _thread!.Dispose();
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        _thread?.Dispose();
    }
}
