using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>The ends of an isolated stage in this process, typed.</summary>
/// <param name="Recipe">How its user code is made in the child.</param>
/// <param name="Inputs">Makes the inputs, by port.</param>
/// <param name="Outputs">Makes the outputs of one child, by port.</param>
/// <param name="HasBody">Whether the code runs of its own accord.</param>
/// <param name="IsOneToOne">Whether every item makes exactly one output.</param>
/// <param name="HasPorts">Whether the code wants to know of the end of each input.</param>
/// <param name="IsForeign">Whether it is a block that does not tell which outputs belong to which item.</param>
internal sealed record ChildPlan(
    Recipe Recipe,
    IReadOnlyList<Func<StageNode, Link, ItemCodecs, ChildInput>> Inputs,
    IReadOnlyList<Func<StageNode, Link, ItemCodecs, ChildOutput>> Outputs,
    bool HasBody = false,
    bool IsOneToOne = false,
    bool HasPorts = false,
    bool IsForeign = false);

/// <summary>
/// A stage whose instances live in children: it keeps each item until the child has settled it and its outputs were accepted here, holds
/// the slots and the order, and decides on errors and losses. A child is only ever told what to run.
/// </summary>
/// <remarks>Everything but the watchers' calls belongs to the stage's stream.</remarks>
internal sealed class ChildStage(StageSetup setup, ChildPlan plan) : StageNode(setup)
{
    /// <summary>Deadlines of children are measured by the system's clock, whatever clock the run has.</summary>
    private static readonly TimeProvider Clock = TimeProvider.System;

    private readonly Queue<HeldInput> _window = [];
    private readonly List<Task> _leaving = [];
    private readonly PayloadWriter _writer = new();
    private readonly FieldWriter _fields = new();
    private ItemCodecs _codecs = null!;
    private ChildInput[] _inputs = [];
    private ChildSlot[] _slots = [];
    private StartRecord _startRecord = null!;
    private long _number;
    private int _nextInput;
    private Link? _full;
    private bool _isFinishSent;
    private bool _isStopSent;
    private bool _isLimitSent;
    private long _restarts;

    // The lowest item that failed for good; the watchers lower it.
    private long _lowestFailure = long.MaxValue;

    // Every child that lives, so that they can be killed from outside. Guarded by itself.
    private readonly HashSet<Child> _living = [];

    private ChildProcessPlacement? Isolation => Options.Placement as ChildProcessPlacement;

    private bool IsOrdered => Options.EnsureOrdered || _slots.Length == 1;

    public override bool IsSource => plan.HasBody;

    public override bool KeepsLedger => !plan.IsForeign;

    public override long Restarts => Volatile.Read(ref _restarts);

    // ---- What the watchers say. Any thread. ------------------------------------------------------------------------------------------

    public void OnFailing(long itemNumber)
    {
        long lowest = Volatile.Read(ref _lowestFailure);
        while (itemNumber != 0 && itemNumber < lowest)
        {
            long seen = Interlocked.CompareExchange(ref _lowestFailure, itemNumber, lowest);
            if (seen == lowest)
                break;
            lowest = seen;
        }

        Wake();
    }

    public void OnOverdue(Child child, long item, int attempt)
    {
        if (Isolation is not null)
            child.Kill(ChildExitReason.Hung);
        else
            FailAndAbandon(new TimeoutException($"The handler of '{Name}' did not return within AbortTimeout ({Graph.Options.AbortTimeout}) after its ItemTimeout ({Options.ItemTimeout}) had fired its token for item {item}. It was left behind; let it observe its token."), item, attempt);
    }

    public void Log(LogRecord record)
    {
        if (Logger.IsEnabled(record.Level))
            Logger.Log(record.Level, new EventId(record.EventId, record.EventName), record, record.Error?.ToException(), static (r, _) => r.Message);
    }

    public override void Abandon()
    {
        KillAll(ChildExitReason.StopTimedOut);

        // Killed children end, and with them the stage; user code in this process does not.
        if (Isolation is null)
            base.Abandon();
    }

    private void KillAll(ChildExitReason because)
    {
        Child[] living;
        lock (_living)
            living = [.. _living];
        foreach (Child child in living)
            child.Kill(because);
    }

    // ---- Start and end. --------------------------------------------------------------------------------------------------------------

    protected override async ValueTask StartAsync()
    {
        _codecs = new ItemCodecs(Graph.Options.ItemCodec?.Invoke(), Graph.Options.DerivedTypes);
        _inputs = [.. plan.Inputs.Select((make, i) => make(this, Inputs[i], _codecs))];
        _startRecord = MakeStartRecord();
        _slots = [.. Enumerable.Range(0, Options.MaxDegreeOfParallelism).Select(static i => new ChildSlot(i))];
        foreach (ChildSlot slot in _slots)
            slot.Starting = StartFirstAsync(slot);
        Exception? failure = null;
        foreach (ChildSlot slot in _slots)
        {
            try
            {
                Adopt(slot, await slot.Starting!.ConfigureAwait(false));
            }
            catch (Exception error)
            {
                slot.Starting = null;
                failure ??= error;
            }
        }

        if (failure is ChildStartException start)
            throw new ChildProcessLostException(Name, _slots[0].NoteBudget(start.Exit, Isolation?.OnLoss), inFlight: 0);
        if (failure is not null)
            throw failure;
    }

    private StartRecord MakeStartRecord()
    {
        byte[] options = [];
        if (plan.Recipe.OptionsType is { } type)
        {
            _writer.Reset();
            _codecs.WriteUntyped(type, _writer, plan.Recipe.Options);
            var buffer = new System.Buffers.ArrayBufferWriter<byte>();
            _writer.CopyTo(buffer);
            options = buffer.WrittenSpan.ToArray();
        }

        ErrorPolicy policy = Options.ErrorPolicy;
        return new StartRecord
        {
            Pipeline = Graph.Options.Name,
            Stage = Name,
            Instance = 0,
            Retries = policy.Retries,
            FaultsAtError = policy.Verdict == ErrorVerdict.Fault,
            TellsItems = Options.ItemTimeout is not null,
            OwnThread = Options.OwnThread,
            TickInterval = Options.TickInterval?.Ticks ?? 0,
            TicksPaused = Options.TicksPaused,
            Credits = Math.Max(2, Options.BoundedCapacity),
            MaxPayload = Isolation?.MaxItemSize ?? FrameFormat.MaxData,
            LogLevel = (byte)LeastLevel(),
            Host = DelegateIdentity.Of(plan.Recipe.Host),
            Maker = DelegateIdentity.Of(plan.Recipe.Maker),
            UserCode = plan.Recipe.UserCode is null ? null : DelegateIdentity.Of(plan.Recipe.UserCode),
            OptionsType = plan.Recipe.OptionsType?.AssemblyQualifiedName,
            Options = options,
            OptionsHaveBlocks = plan.Recipe.OptionsType is not null && _writer.HasBlocks,
            Ports = plan.Recipe.Ports,
            Codec = Graph.Options.ItemCodec is null ? null : DelegateIdentity.Of(Graph.Options.ItemCodec),
            DerivedTypes = [.. Graph.Options.DerivedTypes.Select(static t => t.AssemblyQualifiedName!)],
        };
    }

    private LogLevel LeastLevel()
    {
        for (LogLevel level = LogLevel.Trace; level < LogLevel.None; level++)
        {
            if (Logger.IsEnabled(level))
                return level;
        }

        return LogLevel.None;
    }

    /// <summary>The first child of a slot may be lost as well as any other.</summary>
    private async Task<Child> StartFirstAsync(ChildSlot slot)
    {
        for (TimeSpan delay = TimeSpan.Zero; ;)
        {
            try
            {
                return await StartChildAsync(slot.Index, delay).ConfigureAwait(false);
            }
            catch (ChildStartException error) when (Isolation?.OnLoss is RestartPolicy policy && slot.HasBudget(policy, Clock))
            {
                Diagnostics.Log.ChildLost(Graph.Logger, Name, error.Exit.ProcessId, error.Exit.Description, 0);
                delay = PlanRestart(slot, policy);
            }
        }
    }

    private async Task<Child> StartChildAsync(int index, TimeSpan delay)
    {
        if (delay > TimeSpan.Zero)
            await Task.Delay(delay, Clock, DiscardToken).ConfigureAwait(false);
        long begin = Clock.GetTimestamp();
        TimeSpan limit = Isolation?.StartTimeout ?? Timeout.InfiniteTimeSpan;
        IChildBody body = await ChildBodies.StartAsync(Options.Placement!, Name, Logger, Graph.Time, DiscardToken).ConfigureAwait(false);
        TimeSpan left = limit == Timeout.InfiniteTimeSpan ? limit : limit - Clock.GetElapsedTime(begin);
        return await Child.StartAsync(body, _startRecord with { Instance = index }, new ChildWatcher(this), left < TimeSpan.Zero && limit != Timeout.InfiniteTimeSpan ? TimeSpan.Zero : left, DiscardToken).ConfigureAwait(false);
    }

    private void Adopt(ChildSlot slot, Child child)
    {
        (slot.Child, slot.Starting) = (child, null);
        slot.Outputs = [.. plan.Outputs.Select((make, i) => make(this, Outputs[i], _codecs))];
        lock (_living)
            _living.Add(child);
        Graph.Own(WakeAtEndAsync(child.Exited));
    }

    protected override async ValueTask EndAsync(RunState outcome, Exception? cause)
    {
        var end = new EndRecord(outcome, cause is null ? null : ErrorRecord.Of(cause));
        foreach (ChildSlot slot in _slots)
        {
            if (slot.Starting is { } starting)
                _leaving.Add(DisposeLateAsync(starting));
            if (slot.Child is { } child)
                _leaving.Add(EndChildAsync(child, end));
        }

        await Task.WhenAll(_leaving).ConfigureAwait(false);
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

    private async Task EndChildAsync(Child child, EndRecord end)
    {
        try
        {
            if (await child.EndAsync(end, Isolation?.StopGrace ?? Graph.Options.AbortTimeout).ConfigureAwait(false) is { } error)
                Graph.AddSecondary(new StageFaultedException(Name, error.ToException()));
        }
        catch (OperationCanceledException)
        {
            ChildExit exit = await child.Exited.ConfigureAwait(false);
            Graph.AddSecondary(new StageFaultedException(Name, new ChildProcessLostException(Name, exit, inFlight: 0)));
        }
        catch (TimeoutException error)
        {
            Graph.AddSecondary(new StageFaultedException(Name, error));
        }

        await DisposeAsync(child).ConfigureAwait(false);
    }

    private async Task DisposeAsync(Child child)
    {
        await child.DisposeAsync().ConfigureAwait(false);
        lock (_living)
            _living.Remove(child);
    }

    // ---- The stream. -----------------------------------------------------------------------------------------------------------------

    protected override async Task RunAsync()
    {
        if (plan.HasBody)
        {
            await Graph.WaitForStartAsync(StopToken).ConfigureAwait(false);
            if (IsStopping)
                return;
            foreach (ChildSlot slot in _slots)
                slot.Child?.Say(FrameType.Begin);
        }

        while (true)
        {
            if (IsDiscarding)
                return;
            TellWhatIsAsked();
            _full = null;
            await ReceiveAsync().ConfigureAwait(false);
            if (IsDiscarding)
                return;
            await SuperviseAsync().ConfigureAwait(false);
            if (IsDiscarding)
                return;
            await HandOutAsync().ConfigureAwait(false);
            Flush();
            if (IsDone())
                return;
            await WaitAsync(_full is not null ? StageActivity.WaitingForOutput : _window.Count == 0 ? StageActivity.WaitingForInput : StageActivity.Working, _full).ConfigureAwait(false);
            BeginWork();
        }
    }

    private void TellWhatIsAsked()
    {
        if (IsFinishing && !_isFinishSent)
        {
            _isFinishSent = true;
            Say(FrameType.Finish);
        }

        if (plan.HasBody && Has(Attention.Stop) && !_isStopSent)
        {
            _isStopSent = true;
            Say(FrameType.Stop);
        }

        if (Volatile.Read(ref _lowestFailure) is < long.MaxValue and var lowest && !_isLimitSent && _slots.Length > 1)
        {
            _isLimitSent = true;
            Say(FrameType.Limit, lowest);
        }
    }

    private void Say(FrameType type, long number = 0)
    {
        foreach (ChildSlot slot in _slots)
            slot.Child?.Say(type, number);
    }

    private bool IsDone()
    {
        if (plan.HasBody || IsFinishing)
            return Array.TrueForAll(_slots, static s => s.IsOver);
        if (_window.Count > 0 || Array.Exists(_slots, static s => s.Load > 0) || !HaveInputsEnded())
            return false;

        // One after the other, so that what they still emit comes in their order.
        foreach (ChildSlot slot in _slots)
        {
            if (slot.IsOver)
                continue;
            if (!slot.IsCompleteSent && slot.Child is { } child)
            {
                slot.IsCompleteSent = true;
                child.Data.Write(FrameType.Complete);
                child.Data.Flush();
            }

            return false;
        }

        return true;
    }

    /// <summary>Reads what the children sent: in order only from the one that holds the oldest item, and from those that hold none.</summary>
    private async ValueTask ReceiveAsync()
    {
        if (IsOrdered)
        {
            while (_window.TryPeek(out HeldInput? head) && !IsDiscarding)
            {
                if (head.Fate is { } fate)
                {
                    _window.Dequeue();
                    await head.SettleAsync(fate).ConfigureAwait(false);
                }
                else if (!await ReceiveAsync(head.Slot!, untilSettled: _slots.Length > 1).ConfigureAwait(false))
                {
                    break;
                }
            }
        }

        foreach (ChildSlot slot in _slots)
        {
            if (_full is null && !IsDiscarding && (!IsOrdered || slot.Sent.Count == 0))
                await ReceiveAsync(slot, untilSettled: false).ConfigureAwait(false);
        }

        if (Volatile.Read(ref _lowestFailure) != long.MaxValue && Graph.Options.FaultMode == FaultMode.Abort && IsOrdered)
            await SkipToFailureAsync().ConfigureAwait(false);
    }

    /// <summary>With <see cref="FaultMode.Abort"/> a failure does not wait for the items before it.</summary>
    private async ValueTask SkipToFailureAsync()
    {
        foreach (ChildSlot slot in _slots.Where(s => s.Sent.Any(i => i.Number == Volatile.Read(ref _lowestFailure))))
        {
            while (!IsDiscarding && slot.Child is { } child && child.TryPeek(out Frame frame))
            {
                child.Advance();
                if (frame.Type == FrameType.Failed && frame.Number == Volatile.Read(ref _lowestFailure))
                    Fail(ErrorOf(frame), frame.Number, frame.Attempt);
                else if (frame.Type is FrameType.Done or FrameType.Failed && slot.Sent.TryPeek(out HeldInput? item) && item.Number == frame.Number)
                    slot.Sent.Dequeue().HasLostOutput = true;
            }
        }

        await default(ValueTask).ConfigureAwait(false);
    }

    /// <returns>True when an item was settled and <paramref name="untilSettled"/> is set.</returns>
    private async ValueTask<bool> ReceiveAsync(ChildSlot slot, bool untilSettled)
    {
        while (slot.Child is { } child && child.TryPeek(out Frame frame))
        {
            HeldInput? item = null;
            if (frame.Number != 0 && !(slot.Sent.TryPeek(out item) && item.Number == frame.Number))
            {
                child.Break(new ProtocolViolationException($"A child of '{Name}' sent a {frame.Type} frame for item {frame.Number}, which it does not hold."));
                return false;
            }

            switch (frame.Type)
            {
                case FrameType.Result when frame.Port < slot.Outputs.Length:
                    if (!TryPass(slot, child, item, frame))
                        return false;
                    break;
                case FrameType.Done when item is not null:
                    child.Advance();
                    slot.LossesInARow = 0;
                    await SettleAsync(slot, item, new Fate(item.HasLostOutput || frame.Flags.HasFlag(FrameFlags.WasRefused) ? FateKind.Discarded : FateKind.Delivered, null, frame.Attempt)).ConfigureAwait(false);
                    if (untilSettled)
                        return true;
                    break;
                case FrameType.Failed when item is not null:
                    child.Advance();
                    slot.LossesInARow = 0;
                    if (!await SettleFailedAsync(slot, child, item, frame).ConfigureAwait(false))
                        break;
                    if (untilSettled || IsDiscarding)
                        return true;
                    break;
                case FrameType.Failed:
                    child.Advance();
                    if (!frame.Flags.HasFlag(FrameFlags.Canceled))
                        Fail(ErrorOf(frame));
                    return false;
                case FrameType.Completed:
                    child.Advance();
                    slot.IsCompleted = true;
                    break;
                case FrameType.Idle:
                    child.Advance();
                    slot.IsIdle = true;
                    break;
                default:
                    child.Break(new ProtocolViolationException($"A child of '{Name}' sent a {frame.Type} frame on the data connection."));
                    return false;
            }
        }

        return false;
    }

    /// <returns>False when the next link is full.</returns>
    private bool TryPass(ChildSlot slot, Child child, HeldInput? item, Frame frame)
    {
        ChildOutput output = slot.Outputs[frame.Port];
        try
        {
            if (!output.TryPass(frame, out bool isLost))
            {
                _full = output.To;
                return false;
            }

            if (item is not null)
            {
                if (item.NotePassed())
                    Counters.CountRepeated();
                item.HasLostOutput |= isLost;
            }
        }
        catch (ProtocolViolationException violation)
        {
            child.Break(violation);
            return false;
        }

        child.Advance();
        if (++output.Owed * 2 >= _startRecord.Credits)
            PayCredits(slot, child);
        return true;
    }

    private static void PayCredits(ChildSlot slot, Child child)
    {
        for (int port = 0; port < slot.Outputs.Length; port++)
        {
            if (slot.Outputs[port].Owed == 0)
                continue;
            child.Say(FrameType.Credit, slot.Outputs[port].Owed, port: port);
            slot.Outputs[port].Owed = 0;
        }
    }

    private ValueTask SettleAsync(ChildSlot slot, HeldInput item, Fate fate)
    {
        HeldInput first = slot.Sent.Dequeue();
        Debug.Assert(first == item, "A child settles its items in order.");
        if (!IsOrdered)
            return item.SettleAsync(fate);
        return _window.Peek() == item ? _window.Dequeue().SettleAsync(fate) : SettleInOrderAsync(item, fate);
    }

    /// <summary>Settles an item after those before it, which were decided without a child.</summary>
    private async ValueTask SettleInOrderAsync(HeldInput item, Fate fate)
    {
        while (_window.Peek() is { Fate: { } decided } head && head != item)
        {
            _window.Dequeue();
            await head.SettleAsync(decided).ConfigureAwait(false);
        }

        HeldInput next = _window.Dequeue();
        Debug.Assert(next == item, "Items are settled in order.");
        await item.SettleAsync(fate).ConfigureAwait(false);
    }

    /// <returns>False when the item is tried again.</returns>
    private async ValueTask<bool> SettleFailedAsync(ChildSlot slot, Child child, HeldInput item, Frame frame)
    {
        Exception error = ErrorOf(frame);
        ErrorPolicy policy = Options.ErrorPolicy;
        if (frame.Flags.HasFlag(FrameFlags.TimedOut))
            error = new TimeoutException($"The handler of '{Name}' took longer than ItemTimeout ({Options.ItemTimeout}) for item {item.Number}, attempt {frame.Attempt}.", error);
        bool isCanceled = frame.Flags.HasFlag(FrameFlags.Canceled);
        if (!isCanceled && !frame.Flags.HasFlag(FrameFlags.NotCarried) && frame.Attempt <= policy.Retries)
        {
            item.Attempt = frame.Attempt + 1;
            Graph.Own(RetryLaterAsync(child, item, policy.RetryBackoff.DelayAfter(frame.Attempt)));
            return false;
        }

        if (policy.Verdict != ErrorVerdict.Fault)
            child.Say(FrameType.Proceed, item.Number);
        await SettleAsync(slot, item, isCanceled ? new Fate(FateKind.Discarded, error, frame.Attempt) : new Fate(AttemptRunner.FateOf(policy.Verdict), error, frame.Attempt)).ConfigureAwait(false);
        return true;
    }

    private async Task RetryLaterAsync(Child child, HeldInput item, TimeSpan delay)
    {
        if (delay > TimeSpan.Zero)
        {
            DateTimeOffset due = Time.GetUtcNow() + delay;
            Task waiting = Task.Delay(delay, Time, DiscardToken);
            OnRetryWait(due);
            await waiting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            OnRetryWait(due: null);
        }

        if (!IsDiscarding)
            child.Say(FrameType.Retry, item.Number, attempt: item.Attempt);
    }

    private Exception ErrorOf(Frame frame)
    {
        var reader = new FieldReader(frame.Payload);
        try
        {
            return ErrorRecord.ReadFrom(ref reader).ToException();
        }
        catch (ProtocolViolationException violation)
        {
            return violation;
        }
    }

    // ---- Handing out. ----------------------------------------------------------------------------------------------------------------

    private async ValueTask HandOutAsync()
    {
        if (plan.HasBody || IsFinishing || Volatile.Read(ref _lowestFailure) != long.MaxValue)
            return;
        while (ChooseSlot() is { } free && TryTake(out HeldInput? item))
        {
            ChildSlot slot = free;
            try
            {
                if (IsPartitioned)
                    slot = _slots[(int)((uint)item.KeyHash() % (uint)_slots.Length)];
            }
            catch (Exception error)
            {
                await GiveUpAsync(item, new Fate(AttemptRunner.FateOf(Options.ErrorPolicy.Verdict), error)).ConfigureAwait(false);
                continue;
            }

            item.Slot = slot;
            slot.Waiting.Enqueue(item);
            if (!IsPartitioned)
                await SendAsync(slot).ConfigureAwait(false);
        }

        foreach (ChildSlot slot in _slots)
        {
            await SendAsync(slot).ConfigureAwait(false);
            TellEndedInputs(slot);
        }
    }

    public bool IsPartitioned { get; init; }

    /// <summary>The child that holds the fewest items and may be given more; with a partition only whether there is any.</summary>
    private ChildSlot? ChooseSlot()
    {
        ChildSlot? best = null;
        foreach (ChildSlot slot in _slots)
        {
            bool mayTake = IsPartitioned || (slot.Child is { } child && !slot.IsOver && !child.HasEnded && !child.Data.IsCongested && slot.Load < Prefetch);
            if (mayTake && (best is null || slot.Load < best.Load))
                best = slot;
        }

        return best;
    }

    /// <summary>How many items one child is given at a time: enough to hide the way there and back, few enough that another child is not idle meanwhile.</summary>
    private int Prefetch => _slots.Length == 1 ? int.MaxValue : Math.Max(2, Options.BoundedCapacity / (2 * _slots.Length));

    private bool TryTake([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out HeldInput? item)
    {
        for (int i = 0; i < _inputs.Length; i++)
        {
            if (!_inputs[(_nextInput + i) % _inputs.Length].TryTake(out item))
                continue;
            _nextInput = (_nextInput + i + 1) % _inputs.Length;
            item.Number = ++_number;
            if (IsOrdered)
                _window.Enqueue(item);
            return true;
        }

        item = null;
        return false;
    }

    private async ValueTask SendAsync(ChildSlot slot)
    {
        while (slot is { Child: { HasEnded: false } child, IsOver: false } && !child.Data.IsCongested && slot.Waiting.TryPeek(out HeldInput? item))
        {
            slot.Waiting.Dequeue();
            try
            {
                item.Encode(_writer);
                if (_writer.Length > child.Data.MaxPayload)
                    throw new ItemCodecException(item.Untyped?.GetType() ?? typeof(object), null, $"its encoded form has {_writer.Length} bytes; at most {child.Data.MaxPayload} can travel (MaxItemSize)");
            }
            catch (Exception error)
            {
                await GiveUpAsync(item, new Fate(AttemptRunner.FateOf(Options.ErrorPolicy.Verdict), error, item.Attempt)).ConfigureAwait(false);
                if (IsDiscarding)
                    return;
                continue;
            }

            child.Data.Write(FrameType.Item, item.Number, _writer, (ushort)Array.IndexOf(_inputs, item.Port), item.Attempt);
            slot.Sent.Enqueue(item);
        }
    }

    /// <summary>Decides an item without its child: in order when its turn comes, else at once.</summary>
    private ValueTask GiveUpAsync(HeldInput item, Fate fate)
    {
        if (!IsOrdered)
            return item.SettleAsync(fate);
        item.Fate = fate;
        if (fate.Kind == FateKind.Failed)
            OnFailing(item.Number);
        Wake();
        return default;
    }

    private void TellEndedInputs(ChildSlot slot)
    {
        if (!plan.HasPorts || slot.Child is not { } child || slot.Waiting.Count > 0)
            return;
        for (int port = 0; port < _inputs.Length; port++)
        {
            if (_inputs[port].IsEndTold || !_inputs[port].HasEnded)
                continue;
            _inputs[port].IsEndTold = true;
            child.Data.Write(FrameType.InputEnded, port: (ushort)port);
        }
    }

    private void Flush()
    {
        foreach (ChildSlot slot in _slots)
        {
            if (slot.Child is not { } child)
                continue;
            child.Data.Flush();
            if (_full is null)
                PayCredits(slot, child);
        }
    }

    // ---- Losses. ---------------------------------------------------------------------------------------------------------------------

    private async ValueTask SuperviseAsync()
    {
        foreach (ChildSlot slot in _slots)
        {
            if (slot.Starting is { IsCompleted: true } starting)
                await TakeOverAsync(slot, starting).ConfigureAwait(false);
            if (slot.Child is { HasEnded: true, Exited.IsCompleted: true } lost && !IsDiscarding)
                await OnLostAsync(slot, lost, await lost.Exited.ConfigureAwait(false)).ConfigureAwait(false);
        }
    }

    private async ValueTask TakeOverAsync(ChildSlot slot, Task<Child> starting)
    {
        slot.Starting = null;
        try
        {
            Adopt(slot, await starting.ConfigureAwait(false));
        }
        catch (OperationCanceledException) when (IsDiscarding)
        {
            return;
        }
        catch (ChildStartException error)
        {
            Diagnostics.Log.ChildLost(Graph.Logger, Name, error.Exit.ProcessId, error.Exit.Description, 0);
            await RestartAsync(slot, error.Exit, guilty: null).ConfigureAwait(false);
            return;
        }
        catch (Exception error)
        {
            Fail(error);
            return;
        }

        foreach (ChildInput input in _inputs)
            input.IsEndTold = false;
        if (plan.HasBody)
            slot.Child!.Say(FrameType.Begin);
        if (_isStopSent)
            slot.Child!.Say(FrameType.Stop);
        if (_isFinishSent)
            slot.Child!.Say(FrameType.Finish);
    }

    private async ValueTask OnLostAsync(ChildSlot slot, Child child, ChildExit exit)
    {
        if (child.Violation is { } violation)
            exit = exit with { Description = $"{exit.Description} {violation.Message}" };
        Diagnostics.Log.ChildLost(Graph.Logger, Name, exit.ProcessId, exit.Description, slot.Sent.Count);
        slot.Child = null;
        _leaving.Add(DisposeAsync(child));
        if (slot.IsCompleted || slot.IsIdle)
            return;
        HeldInput? guilty = slot.Sent.FirstOrDefault(i => i.Number == child.ItemInWork) ?? slot.Sent.FirstOrDefault();
        await RestartAsync(slot, exit, guilty).ConfigureAwait(false);
    }

    private async ValueTask RestartAsync(ChildSlot slot, ChildExit exit, HeldInput? guilty)
    {
        int inFlight = slot.Sent.Count;
        if (Isolation?.OnLoss is not RestartPolicy policy || !slot.HasBudget(policy, Clock))
        {
            await FailLostAsync(slot, new ChildProcessLostException(Name, slot.NoteBudget(exit, Isolation?.OnLoss), inFlight), guilty).ConfigureAwait(false);
            return;
        }

        bool isPoison = guilty is not null && ++guilty.Guilt >= policy.GuiltLimit;
        if (isPoison && Options.ErrorPolicy.DeadLetterTarget is null)
        {
            exit = exit with { Description = $"{exit.Description} Item {guilty!.Number} was in work each of {guilty.Guilt} times, and the stage has no dead-letter target for it." };
            await FailLostAsync(slot, new ChildProcessLostException(Name, exit, inFlight), guilty).ConfigureAwait(false);
            return;
        }

        slot.TakeBack();
        if (isPoison)
        {
            slot.Withdraw(guilty!);
            await GiveUpAsync(guilty!, new Fate(FateKind.DeadLettered, new ChildProcessLostException(Name, exit, inFlight), guilty!.Guilt)).ConfigureAwait(false);
        }

        foreach (HeldInput item in slot.Waiting.Where(i => plan.IsOneToOne && i.Passed > 0).ToList())
        {
            // Its one output has left; handling it again would make a second one.
            slot.Withdraw(item);
            await GiveUpAsync(item, new Fate(FateKind.Delivered, null, item.Attempt)).ConfigureAwait(false);
        }

        foreach (HeldInput item in slot.Waiting)
            item.Rewind();
        slot.Starting = StartChildAsync(slot.Index, PlanRestart(slot, policy));
        Graph.Own(WakeAtEndAsync(slot.Starting));
    }

    /// <returns>How long to wait before it. One stream for each slot.</returns>
    private TimeSpan PlanRestart(ChildSlot slot, RestartPolicy policy)
    {
        slot.Restarts.Enqueue(Clock.GetTimestamp());
        Interlocked.Increment(ref _restarts);
        TimeSpan delay = policy.RestartBackoff.DelayAfter(++slot.LossesInARow);
        Diagnostics.Log.ChildRestarting(Graph.Logger, Name, slot.Waiting.Count, delay);
        return delay;
    }

    private async ValueTask FailLostAsync(ChildSlot slot, ChildProcessLostException error, HeldInput? guilty)
    {
        slot.TakeBack();
        if (guilty is null)
        {
            Fail(error);
            return;
        }

        // Nobody will ever know what became of the items before it, so the failure does not wait for them.
        foreach (HeldInput item in slot.Waiting.Where(i => i.Number < guilty.Number).ToList())
        {
            slot.Withdraw(item);
            await GiveUpAsync(item, new Fate(FateKind.Discarded)).ConfigureAwait(false);
        }

        slot.Withdraw(guilty);
        await GiveUpAsync(guilty, new Fate(FateKind.Failed, error, Math.Max(1, guilty.Guilt))).ConfigureAwait(false);
    }

    // ---- Giving up. ------------------------------------------------------------------------------------------------------------------

    protected override async ValueTask ReturnAllAsync()
    {
        if (IsDiscarding)
            await CancelChildrenAsync().ConfigureAwait(false);
        foreach (HeldInput item in _slots.SelectMany(static s => s.Sent.Concat(s.Waiting)).Concat(_window).Distinct().OrderBy(static i => i.Number))
            await item.SettleAsync(item.Fate is { Kind: not FateKind.Failed } fate ? fate : new Fate(FateKind.Discarded)).ConfigureAwait(false);
        _window.Clear();
        foreach (ChildSlot slot in _slots)
        {
            slot.Sent.Clear();
            slot.Waiting.Clear();
        }
    }

    private async ValueTask CancelChildrenAsync()
    {
        Say(FrameType.Cancel);
        using var grace = new CancellationTokenSource();
        if (Isolation is { } isolation)
            _leaving.Add(KillAfterAsync(isolation.StopGrace, grace.Token));
        while (true)
        {
            foreach (ChildSlot slot in _slots)
                DrainCanceled(slot);
            if (Array.TrueForAll(_slots, static s => s.IsOver || s.Child is { HasEnded: true }))
                break;
            await WaitAsync(StageActivity.Working).ConfigureAwait(false);
        }

        await grace.CancelAsync().ConfigureAwait(false);
        foreach (ChildSlot slot in _slots)
        {
            if (slot.Child is not { HasEnded: true } lost)
                continue;
            slot.Child = null;
            _leaving.Add(DisposeAsync(lost));
            ChildExit exit = await lost.Exited.ConfigureAwait(false);
            Graph.AddSecondary(new StageFaultedException(Name, new ChildProcessLostException(Name, exit, slot.Sent.Count)));
        }
    }

    private async Task KillAfterAsync(TimeSpan grace, CancellationToken cancellationToken)
    {
        await Task.Delay(grace, Clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!cancellationToken.IsCancellationRequested)
            KillAll(ChildExitReason.StopTimedOut);
    }

    /// <summary>Reads what a child says after it was cancelled; what it made is given up.</summary>
    private void DrainCanceled(ChildSlot slot)
    {
        while (slot.Child is { } child && child.TryPeek(out Frame frame))
        {
            child.Advance();
            HeldInput? item = frame.Number != 0 && slot.Sent.TryPeek(out HeldInput? first) && first.Number == frame.Number ? first : null;
            switch (frame.Type)
            {
                case FrameType.Result when item is not null:
                    item.HasLostOutput = true;
                    break;
                case FrameType.Done when item is not null:
                    slot.Sent.Dequeue();
                    item.Fate = new Fate(item.HasLostOutput || frame.Flags.HasFlag(FrameFlags.WasRefused) ? FateKind.Discarded : FateKind.Delivered);
                    if (!_window.Contains(item))
                        _window.Enqueue(item);
                    break;
                case FrameType.Failed:
                    if (item is not null)
                        slot.Sent.Dequeue();
                    if (item is not null && !_window.Contains(item))
                        _window.Enqueue(item);
                    if (ErrorOf(frame) is var error && !frame.Flags.HasFlag(FrameFlags.Canceled) && error is not RemoteRunnableException { TypeName: "System.OperationCanceledException" or "System.Threading.Tasks.TaskCanceledException" })
                        Graph.AddSecondary(new StageFaultedException(Name, error, frame.Number == 0 ? null : frame.Number, frame.Attempt));
                    break;
                case FrameType.Idle:
                    slot.IsIdle = true;
                    break;
                case FrameType.Completed:
                    slot.IsCompleted = true;
                    break;
            }
        }
    }
}
