using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>
/// A stage whose instances live in children: it keeps each item until the child has settled it and its outputs were accepted here, holds
/// the slots and the order, and decides on errors and losses. A child is only ever told what to run.
/// </summary>
/// <remarks>Everything but what the watchers call belongs to the stage's stream.</remarks>
internal sealed class ChildStage : StageNode, IControlledStage
{
    /// <summary>How long a stage that is left behind may take to see it before it is left behind all the same.</summary>
    private static readonly TimeSpan LeaveGrace = TimeSpan.FromSeconds(1);

    private readonly ChildPlan _plan;
    private readonly ItemOrder _order;
    private readonly ChildRoster _roster;
    private readonly ChildReader _reader;
    private readonly ChildLosses _losses;
    private readonly Lazy<ItemCodecs> _codecs;
    private readonly TaskCompletionSource _hasReturnedAll = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ChildFeeder _feeder = null!;
    private bool _isFinishSaid;
    private bool _isStopSaid;
    private long _limitSaid = long.MaxValue;
    private int _firstRead;

    // Set by any thread.
    private volatile bool _isLeftBehind;

    public ChildStage(StageSetup setup, ChildPlan plan)
        : base(setup)
    {
        _plan = plan;
        _codecs = new(() => new ItemCodecs(Graph.Options.ItemCodec?.Invoke(), Graph.Options.DerivedTypes));
        _order = new ItemOrder(this, Options.EnsureOrdered || Options.MaxDegreeOfParallelism == 1);
        _roster = new ChildRoster(this, plan);
        _reader = new ChildReader(this, _order);
        _losses = new ChildLosses(this, plan, _roster, _order, _reader);
        StayWithReceiver();
        Instances = plan.IsForeign ? [] : [.. _roster.Calls.Select(static c => c.Target)];
    }

    public IReadOnlyList<ControlTarget> Instances { get; }

    /// <summary>What carries items, options and calls. Any thread.</summary>
    public ItemCodecs Codecs => _codecs.Value;

    /// <summary>Deadlines of children are measured by the system's clock, whatever clock the run has.</summary>
    public static TimeProvider Clock => TimeProvider.System;

    /// <summary>The placement, when it is in processes and not in this one.</summary>
    public ChildProcessPlacement? Isolation => Options.Placement as ChildProcessPlacement;

    public override bool IsSource => _plan.HasBody;

    public override bool KeepsLedger => !_plan.IsForeign;

    public override long Restarts => _losses.Restarts;

    public bool IsFinishingEarly => IsFinishing;

    public bool HaveEnoughInputsEnded => HaveInputsEnded();

    /// <summary>How many outputs a child may have sent that a link has not accepted: as many as the link holds, or the stage itself if that is less. In an ordered pool they wait for their turn, as its results do in this process.</summary>
    public int WindowOf(Link output) =>
        _order.IsOrdered && Options.MaxDegreeOfParallelism > 1 ? Options.BoundedCapacity : Math.Min(Options.BoundedCapacity, output.Capacity);

    /// <summary>Whether the slots of the stage itself keep the outputs of its children within their window, so that nothing need be paid.</summary>
    public bool IsWindowKept(Link output) => _plan.IsOneToOne && WindowOf(output) == Options.BoundedCapacity;

    public int MaxPayload => _roster.StartRecord.MaxPayload;

    public Task WakeAfterAsync(Task foreign) => WakeAtEndAsync(foreign);

    /// <summary>Ends when no start of the run, or of the branch that joins it, is under way any more; cancelled when the stage is to end before.</summary>
    public Task WaitUntilAllStartedAsync() => WaitForStartAsync();

    public void AddSecondary(Exception error, long? itemNumber = null, int attempt = 0) =>
        Graph.AddSecondary(new StageFaultedException(Name, error, itemNumber, attempt));

    // ---- What the watchers say. Any thread. ------------------------------------------------------------------------------------------

    public void OnFailing(long itemNumber)
    {
        if (itemNumber != 0)
            _order.NoteFailure(itemNumber);
        Wake();
    }

    public void OnOverdue(Child child, long item, int attempt)
    {
        string what = $"did not return within AbortTimeout ({Graph.Options.AbortTimeout}) after its {ItemTimeoutName} ({Options.ItemTimeout}) had fired its token for item {item}";
        if (Isolation is not null)
            child.KillOverdue(item, $"It was killed because its handler {what}. Let it observe its token.");
        else
            FailAndAbandon(new TimeoutException($"The handler of '{Name}' {what}. It was left behind; let it observe its token."), item, attempt);
    }

    /// <summary>Kills the children, with which the stage ends; user code in this process, and a process that cannot be killed, is left behind.</summary>
    public override void Abandon()
    {
        _roster.KillAll(ChildExitReason.StopTimedOut);
        Graph.Own(LeaveBehindAsync());
    }

    private async Task LeaveBehindAsync()
    {
        if (Isolation is not null)
            await Task.WhenAny(Completion, Task.Delay(LeaveGrace, Clock)).ConfigureAwait(false);

        // The stream reads the links, so it leaves them itself; when it cannot, it is inside a start or an end, where it reads none.
        _isLeftBehind = true;
        Wake();
        await Task.WhenAny(_hasReturnedAll.Task, Task.Delay(LeaveGrace, Clock)).ConfigureAwait(false);
        base.Abandon();
    }

    // ---- The stream. -----------------------------------------------------------------------------------------------------------------

    protected override async ValueTask StartAsync()
    {
        _feeder = new ChildFeeder(this, _plan, _roster, _order, [.. _plan.Inputs.Select((make, i) => make(this, Inputs[i], Codecs))]);
        await _roster.StartAllAsync(_losses.StartFirstAsync).ConfigureAwait(false);
    }

    protected override async ValueTask EndAsync(RunState outcome, Exception? cause) =>
        await _roster.EndAllAsync(new EndRecord(outcome, cause is null ? null : ErrorRecord.Of(cause))).ConfigureAwait(false);

    protected override void OnEnding(EndMarker marker)
    {
        foreach (ChildCalls calls in _roster.Calls)
            calls.Close(marker.ToRefusal());
    }

    /// <summary>A stage that was left behind told its children of no end; they are parted with, whenever their code returns.</summary>
    protected override void CleanUp()
    {
        if (IsAbandoned)
            Graph.Own(_roster.DisposeAllAsync());
    }

    protected override async Task RunAsync()
    {
        if (_plan.HasBody)
        {
            await WaitForStartAsync().ConfigureAwait(false);
            if (IsStopping)
                return;
            _roster.Say(FrameType.Begin);
        }

        while (!IsDiscarding)
        {
            SayWhatIsAsked();
            await _losses.SuperviseAsync().ConfigureAwait(false);
            await ReceiveAsync().ConfigureAwait(false);
            if (IsDiscarding)
                return;
            await _feeder.HandOutAsync().ConfigureAwait(false);
            if (IsDiscarding || IsDone())
                return;
            await WaitAsync(_reader.Full is not null ? StageActivity.WaitingForOutput : IsHolding ? StageActivity.Working : StageActivity.WaitingForInput, _reader.Full).ConfigureAwait(false);
            BeginWork();
        }
    }

    private bool IsHolding => Array.Exists(_roster.Slots, static s => s.Load > 0) || _order.Head is not null;

    private void SayWhatIsAsked()
    {
        if (IsFinishing && !_isFinishSaid)
        {
            _isFinishSaid = true;
            _roster.Say(FrameType.Finish);
        }

        if (_plan.HasBody && Has(Attention.Stop) && !_isStopSaid)
        {
            _isStopSaid = true;
            _roster.Say(FrameType.Stop);
        }

        if (_order.LowestFailure is var lowest && lowest < _limitSaid && _roster.Slots.Length > 1)
        {
            _limitSaid = lowest;
            _roster.Say(FrameType.Limit, lowest);
        }
    }

    /// <summary>Says to a child that took the place of another what that one was told.</summary>
    public void TellNewChild(Child child)
    {
        _feeder.ForgetEndedInputs();
        if (_plan.HasBody)
            child.Say(FrameType.Begin);
        if (_isStopSaid)
            child.Say(FrameType.Stop);
        if (_isFinishSaid)
            child.Say(FrameType.Finish);
        if (_limitSaid != long.MaxValue)
            child.Say(FrameType.Limit, _limitSaid);
    }

    /// <summary>Reads what the children sent: in order only from the one that holds the oldest item, and from those that hold none.</summary>
    private async ValueTask ReceiveAsync()
    {
        _reader.Begin();
        if (_order.SkipsToFailure)
            await SkipToFailureAsync().ConfigureAwait(false);
        while (_order.IsOrdered && _reader.Full is null && await _order.SettleDecidedAsync().ConfigureAwait(false) is { } head && !IsDiscarding)
        {
            if (_reader.TryPassPack(head.Slot!))
                continue;
            if (!_reader.TryReadFate(head.Slot!, out HeldInput? item, out Fate fate))
                break;
            await _order.DecideAsync(item, fate).ConfigureAwait(false);
        }

        // Each time another child is the first that may have the free slots.
        _firstRead = (_firstRead + 1) % _roster.Slots.Length;
        for (int i = 0; i < _roster.Slots.Length && _reader.Full is null && !IsDiscarding; i++)
        {
            ChildSlot slot = _roster.Slots[(_firstRead + i) % _roster.Slots.Length];
            if (_order.IsOrdered && slot.HasSent)
                continue;
            while (!IsDiscarding && _reader.TryReadFate(slot, out HeldInput? item, out Fate fate))
                await _order.DecideAsync(item, fate).ConfigureAwait(false);
        }
    }

    /// <summary>Reads on to the failure that does not wait for the items before it; what those made is given up.</summary>
    private async ValueTask SkipToFailureAsync()
    {
        Unpack();
        foreach (ChildSlot slot in _roster.Slots.Where(s => s.Sent.Any(i => i.Number == _order.LowestFailure)))
        {
            while (!IsDiscarding && _reader.TryReadFate(slot, out HeldInput? item, out Fate fate, dropsOutputs: true))
                await _order.DecideAsync(item, fate).ConfigureAwait(false);
        }
    }

    /// <summary>Takes all packs apart: an item of one needs more than to be settled as delivered.</summary>
    public void Unpack()
    {
        foreach (ChildSlot slot in _roster.Slots)
            slot.Unpack();
        _order.Unpack();
    }

    private bool IsDone()
    {
        if (IsFinishing)
        {
            // In order, an item that will not be handled ends the stream: what comes after it is given up as well.
            bool hasGap = Outputs.Length > 0 && _order.Head is { Fate: null, Slot: { } slot } && (slot.IsOver || slot.IsEmpty);
            return hasGap || Array.TrueForAll(_roster.Slots, static s => s.IsOver || s.IsEmpty);
        }

        if (_plan.HasBody)
            return Array.TrueForAll(_roster.Slots, static s => s.IsOver);
        return !IsHolding && HaveInputsEnded() && (MustGiveUp || _feeder.Complete());
    }

    protected override void FlushInputs()
    {
        base.FlushInputs();
        foreach (ChildSlot slot in _roster.Slots)
        {
            slot.Child?.Data.Flush();
            _reader.PayCredits(slot);
        }
    }

    // ---- Giving up. ------------------------------------------------------------------------------------------------------------------

    protected override async ValueTask ReturnAllAsync()
    {
        Unpack();
        HeldInput[] held = [.. _roster.Slots.SelectMany(static s => s.Sent.Concat(s.Waiting)).Concat(_order.Items).Distinct().OrderBy(static i => i.Number)];
        if (Array.TrueForAll(_roster.Slots, static s => s.IsOver) || await CancelChildrenAsync().ConfigureAwait(false))
        {
            foreach (HeldInput item in held)
                await ReturnAsync(item).ConfigureAwait(false);
            foreach (ChildSlot slot in _roster.Slots)
                slot.Clear();
        }

        _hasReturnedAll.TrySetResult();
    }

    private ValueTask ReturnAsync(HeldInput item)
    {
        if (item.Fate is not { Kind: FateKind.Failed } failed)
            return item.SettleAsync(item.Fate ?? new Fate(FateKind.Discarded));

        // It lost to a lower item, but what it threw is worth knowing.
        AddSecondary(failed.Error!, item.Number, failed.Attempt);
        return item.SettleAsync(new Fate(FateKind.Discarded));
    }

    /// <summary>Fires the tokens of the children and reads on until their code has ended.</summary>
    /// <returns>False when the stage is left behind meanwhile.</returns>
    private async ValueTask<bool> CancelChildrenAsync()
    {
        _reader.IsGivingUp = true;
        _roster.Say(FrameType.Cancel);
        using var hasEnded = new CancellationTokenSource();
        if (Isolation is { } isolation)
            Graph.Own(EndByForceAfterAsync(isolation.StopGrace, hasEnded.Token));
        while (true)
        {
            foreach (ChildSlot slot in _roster.Slots)
            {
                while (_reader.TryReadFate(slot, out HeldInput? item, out Fate fate))
                    item.Fate = fate;
            }

            if (Array.TrueForAll(_roster.Slots, static s => s.IsOver || s.Child is null or { HasEnded: true }))
                break;
            await WaitAsync(StageActivity.Working).ConfigureAwait(false);
            if (!_isLeftBehind)
                continue;
            base.Abandon();
            return false;
        }

        await hasEnded.CancelAsync().ConfigureAwait(false);
        foreach (ChildSlot slot in _roster.Slots)
        {
            if (slot.Child is not { HasEnded: true } lost)
                continue;
            slot.Child = null;
            AddSecondary(new ChildProcessLostException(Name, await lost.Exited.ConfigureAwait(false), slot.Sent.Count()));
            _roster.Retire(lost);
        }

        return true;
    }

    private async Task EndByForceAfterAsync(TimeSpan grace, CancellationToken cancellationToken)
    {
        await Task.Delay(grace, Clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!cancellationToken.IsCancellationRequested)
            await _roster.EndAllByForceAsync(ChildExitReason.StopTimedOut).ConfigureAwait(false);
    }
}
