using Puma.Dataflow.Control;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Logging;

namespace Puma.Dataflow.Stages;

/// <summary>Starts the children of an isolated stage and ends them.</summary>
/// <remarks>Belongs to the stage's stream, but for what ends children by force, which is for any thread.</remarks>
internal sealed class ChildRoster
{
    /// <summary>So many bursts of results come from one window of items: while one is handled here, the next is made there.</summary>
    private const int BurstsInWindow = 4;

    /// <summary>Shorter ones cost more in wake-ups, longer ones gain nothing.</summary>
    private const int ShortestBurst = 32, LongestBurst = 256;

    private readonly ChildStage _stage;
    private readonly ChildPlan _plan;
    private readonly CancellationTokenSource _startsWanted;

    // Ends of children that were parted with. What threw stays, so that it is told at the end.
    private readonly List<Task> _leaving = [];
    private bool _hasPartedWithAll;

    // Every child that lives, also while it starts or is spare, so that they can be killed from outside. Guarded by itself.
    private readonly HashSet<IChildBody> _living = [];

    // Guarded by _living. Why all were killed; what starts from then on is killed as well.
    private ChildExitReason? _killedFor;

    public ChildRoster(ChildStage stage, ChildPlan plan)
    {
        _stage = stage;
        _plan = plan;
        _startsWanted = CancellationTokenSource.CreateLinkedTokenSource(stage.DiscardToken);
        Slots = [.. Enumerable.Range(0, stage.Options.MaxDegreeOfParallelism).Select(static i => new ChildSlot(i))];
        CallWatch watch = stage.MakeWatch();
        Calls = [.. Slots.Select(s => new ChildCalls(stage, s.Index, watch))];
        Spares = new SpareChildren(stage, this, stage.Isolation?.SpareChildren ?? 0);
    }

    public ChildSlot[] Slots { get; }

    /// <summary>The calls to each slot's child. Any thread.</summary>
    public ChildCalls[] Calls { get; }

    /// <summary>Those that wait to take the place of a lost one.</summary>
    public SpareChildren Spares { get; }

    /// <summary>What each child is told to run; set by the start of the stage.</summary>
    public StartRecord StartRecord { get; private set; } = null!;

    /// <summary>Starts the first child of every slot, all at once.</summary>
    /// <exception cref="ChildProcessLostException">A child was lost, more often than the policy restarts it.</exception>
    public async Task StartAllAsync(Func<ChildSlot, Task<Child>> start)
    {
        StartRecord = MakeStartRecord();
        foreach (ChildSlot slot in Slots)
            slot.Starting = start(slot);
        Exception? failure = null;
        foreach (ChildSlot slot in Slots)
        {
            try
            {
                Adopt(slot, await slot.Starting!.ConfigureAwait(false));
            }
            catch (Exception error)
            {
                slot.Starting = null;
                failure ??= error is ChildStartException lost
                    ? new ChildProcessLostException(_stage.Name, slot.NoteBudget(lost.Exit, _stage.Isolation?.OnLoss), inFlight: 0)
                    : error;
            }
        }

        if (failure is not null)
            throw failure;
    }

    /// <summary>Starts a child and its user code, or only that in a spare one. Beside the stream.</summary>
    /// <param name="index">The slot.</param>
    /// <param name="delay">How long to wait before it.</param>
    /// <exception cref="ChildStartException">It was lost or too slow.</exception>
    /// <exception cref="RemoteRunnableException">The user code threw.</exception>
    public async Task<Child> StartAsync(int index, TimeSpan delay)
    {
        CancellationToken wanted = _startsWanted.Token;
        if (delay > TimeSpan.Zero)
            await Task.Delay(delay, ChildStage.Clock, wanted).ConfigureAwait(false);
        long begin = ChildStage.Clock.GetTimestamp();
        wanted.ThrowIfCancellationRequested();
        (IChildBody body, ChildLog log) = Spares.TryTake() ?? await StartBareAsync(wanted).ConfigureAwait(false);
        TimeSpan left = _stage.Isolation?.StartTimeout ?? Timeout.InfiniteTimeSpan;
        if (left >= TimeSpan.Zero && (left -= ChildStage.Clock.GetElapsedTime(begin)) < TimeSpan.Zero)
            left = TimeSpan.Zero;
        var watcher = new ChildWatcher(_stage, Calls[index]);
        return await Child.StartAsync(body, StartRecord with { Instance = index }, watcher, log, new StatusReceiver(_stage.Codecs, _stage.Status, index, watcher.OnStatusDropped), left, wanted).ConfigureAwait(false);
    }

    /// <summary>Starts a spare child. Beside the stream.</summary>
    /// <exception cref="ChildStartException">It was lost or too slow.</exception>
    /// <exception cref="OperationCanceledException">It is not wanted any more.</exception>
    public async Task<BareChild> StartSpareAsync(TimeSpan delay)
    {
        CancellationToken wanted = _startsWanted.Token;
        await _stage.WaitUntilAllStartedAsync().WaitAsync(wanted).ConfigureAwait(false);
        await Task.Delay(delay, ChildStage.Clock, wanted).ConfigureAwait(false);
        return await StartBareAsync(wanted).ConfigureAwait(false);
    }

    /// <summary>Starts a child without user code. Any thread.</summary>
    private async Task<BareChild> StartBareAsync(CancellationToken wanted)
    {
        var log = new ChildLog(LogSink.Of(_stage.Graph.Loggers), _stage.Graph.Logger, _stage.Name, StartRecord.LogCategory, TellFirst());
        try
        {
            IChildBody body = await ChildBodies.StartAsync(_stage.Options.Placement!, _stage.Name, log, _stage.Graph.Time, wanted).ConfigureAwait(false);
            _stage.Graph.Own(WatchAsync(body));
            return new BareChild(body, log);
        }
        catch
        {
            await log.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Keeps a child among those that can be killed, as long as it lives, and wakes the stream then.</summary>
    private async Task WatchAsync(IChildBody body)
    {
        ChildExitReason? killedFor;
        lock (_living)
        {
            _living.Add(body);
            killedFor = _killedFor;
        }

        if (killedFor is { } because)
            body.Kill(because);
        await body.Exited.ConfigureAwait(false);
        lock (_living)
            _living.Remove(body);
        _stage.Wake();
    }

    /// <summary>Tells the first failure of one child's logging; a logger that fails must end neither the run nor what it has to say.</summary>
    private Action<Exception> TellFirst()
    {
        int hasTold = 0;
        return error =>
        {
            if (Interlocked.Exchange(ref hasTold, 1) == 0)
                _stage.AddSecondary(error);
        };
    }

    /// <summary>Makes a started child the child of its slot.</summary>
    public void Adopt(ChildSlot slot, Child child)
    {
        (slot.Child, slot.Starting) = (child, null);
        slot.Outputs = [.. _plan.Outputs.Select((make, i) => make(_stage, _stage.Outputs[i], _stage.Codecs))];
        Calls[slot.Index].Attach(child.Calls);
        if (_stage.Isolation is not null)
            Log.ChildStarted(_stage.Graph.Logger, _stage.Name, child.ProcessId, slot.Index);
    }

    public void Say(FrameType type, long number = 0)
    {
        foreach (ChildSlot slot in Slots)
            slot.Child?.Say(type, number);
    }

    /// <summary>Frees what belongs to a child that is gone.</summary>
    public void Retire(Child child) => Leave(DisposeAsync(child));

    /// <inheritdoc cref="Retire(Child)"/>
    public void Retire(BareChild child) => Leave(DisposeAsync(child));

    private void Leave(Task leaving)
    {
        _leaving.RemoveAll(static t => t.IsCompletedSuccessfully);
        _leaving.Add(leaving);
    }

    /// <summary>Kills all children that live. Any thread.</summary>
    public void KillAll(ChildExitReason because)
    {
        foreach (IChildBody child in Condemn(because))
            child.Kill(because);
    }

    /// <summary>Terminates all children that live, then kills them. Any thread.</summary>
    public Task EndAllByForceAsync(ChildExitReason because) => Task.WhenAll(Condemn(because).Select(c => Child.EndByForceAsync(c, because)));

    private IChildBody[] Condemn(ChildExitReason killedFor)
    {
        lock (_living)
        {
            _killedFor ??= killedFor;
            return [.. _living];
        }
    }

    /// <summary>Tells every child of the end, and returns when all are gone.</summary>
    public Task EndAllAsync(EndRecord end) => PartWithAllAsync(child => EndAsync(child, end));

    /// <summary>Frees what belongs to the children of a stage that was left behind, and returns when all are gone.</summary>
    public Task DisposeAllAsync() => PartWithAllAsync(DisposeAsync);

    private async Task PartWithAllAsync(Func<Child, Task> part)
    {
        if (_hasPartedWithAll)
            return;
        _hasPartedWithAll = true;
        await _startsWanted.CancelAsync().ConfigureAwait(false);
        _leaving.Add(Spares.EndAsync());
        foreach (ChildSlot slot in Slots)
        {
            if (slot.Starting is { } starting)
                _leaving.Add(DisposeLateAsync(starting));
            if (slot.Child is { } child)
            {
                slot.Child = null;
                _leaving.Add(part(child));
            }
        }

        await Task.WhenAll(_leaving).ConfigureAwait(false);
        _startsWanted.Dispose();
    }

    /// <summary>A restart that is no longer wanted.</summary>
    private static async Task DisposeLateAsync(Task<Child> starting)
    {
        try
        {
            await (await starting.ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false);
        }
        catch (Exception error) when (error is OperationCanceledException or ChildStartException or RemoteRunnableException)
        {
            // It never started.
        }
    }

    private async Task EndAsync(Child child, EndRecord end)
    {
        try
        {
            if (await child.EndAsync(end, _stage.Isolation?.StopGrace ?? _stage.Graph.Options.AbortTimeout).ConfigureAwait(false) is { } error)
                _stage.AddSecondary(error.ToException());
        }
        catch (OperationCanceledException)
        {
            _stage.AddSecondary(new ChildProcessLostException(_stage.Name, await child.Exited.ConfigureAwait(false), inFlight: 0));
        }
        catch (TimeoutException error)
        {
            _stage.AddSecondary(error);
        }

        await DisposeAsync(child).ConfigureAwait(false);
    }

    /// <summary>Ends a child and frees what belongs to it.</summary>
    public async Task DisposeAsync(Child child)
    {
        await child.DisposeAsync().ConfigureAwait(false);
        TellEnded(await child.Exited.ConfigureAwait(false));
    }

    /// <inheritdoc cref="DisposeAsync(Child)"/>
    public async Task DisposeAsync(BareChild child)
    {
        await child.DisposeAsync().ConfigureAwait(false);
        TellEnded(await child.Body.Exited.ConfigureAwait(false));
    }

    private void TellEnded(ChildExit exit)
    {
        if (_stage.Isolation is not null)
            Log.ChildEnded(_stage.Graph.Logger, _stage.Name, exit.ProcessId, exit.Description);
    }

    private StartRecord MakeStartRecord()
    {
        byte[] options = [];
        var writer = new PayloadWriter();
        if (_plan.Recipe.OptionsType is { } type)
        {
            _stage.Codecs.WriteUntyped(type, writer, _plan.Recipe.Options);
            var buffer = new System.Buffers.ArrayBufferWriter<byte>();
            writer.CopyTo(buffer);
            options = buffer.WrittenSpan.ToArray();
        }

        StageOptions stage = _stage.Options;
        PipelineOptions pipeline = _stage.Graph.Options;
        return new StartRecord
        {
            Stage = _stage.Name,
            Instance = 0,
            Retries = stage.ErrorPolicy.Retries,
            FaultsAtError = stage.ErrorPolicy.Verdict == ErrorVerdict.Fault,
            TellsItems = stage.ItemTimeout is not null,
            AbortTimeout = pipeline.AbortTimeout.Ticks,
            StopGrace = (_stage.Isolation?.StopGrace ?? pipeline.AbortTimeout).Ticks,
            ItemTimeout = _stage.Isolation is null || _stage.Graph.Time == TimeProvider.System ? stage.ItemTimeout?.Ticks ?? 0 : 0,
            OwnThread = stage.OwnThread,
            TickInterval = stage.TickInterval?.Ticks ?? 0,
            TicksPaused = stage.TicksPaused,
            Credits = [.. _plan.Outputs.Select((_, i) => _stage.IsWindowKept(_stage.Outputs[i]) ? StartRecord.NoCredits : _stage.WindowOf(_stage.Outputs[i]))],
            MaxPayload = _stage.Isolation?.MaxItemSize ?? FrameFormat.MaxData,
            BurstLength = Math.Clamp(stage.BoundedCapacity / BurstsInWindow, ShortestBurst, LongestBurst),
            LogCategory = LogCategory.Of(pipeline.Name, _stage.Name),
            Host = DelegateIdentity.Of(_plan.Recipe.Host),
            Maker = DelegateIdentity.Of(_plan.Recipe.Maker),
            UserCode = _plan.Recipe.UserCode is null ? null : DelegateIdentity.Of(_plan.Recipe.UserCode),
            OptionsType = _plan.Recipe.OptionsType?.AssemblyQualifiedName,
            Options = options,
            OptionsHaveBlocks = _plan.Recipe.OptionsType is not null && writer.HasBlocks,
            Ports = _plan.Recipe.Ports,
            Codec = pipeline.ItemCodec is null ? null : DelegateIdentity.Of(pipeline.ItemCodec),
            DerivedTypes = [.. pipeline.DerivedTypes.Select(static t => t.AssemblyQualifiedName!)],
        };
    }
}
