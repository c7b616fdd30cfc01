using System.Diagnostics.CodeAnalysis;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Reads what the children of an isolated stage say: passes their outputs on, and tells how each item ended.</summary>
/// <remarks>Belongs to the stage's stream, but for the waits before another attempt.</remarks>
internal sealed class ChildReader(ChildStage stage, ItemOrder order)
{
    /// <summary>In how many groups the slots of a window are given back while the link is full: a window of 16 or less one by one.</summary>
    private const int FullLinkGroups = 16;

    /// <summary>The link that has no slot for the next output, when one was met.</summary>
    public Link? Full { get; private set; }

    /// <summary>Whether nothing is passed on any more, and failures change nothing.</summary>
    public bool IsGivingUp { get; set; }

    /// <summary>Looks at all links anew.</summary>
    public void Begin() => Full = null;

    /// <summary>Reads on until an item has ended.</summary>
    /// <param name="slot">Whose child.</param>
    /// <param name="item">The item.</param>
    /// <param name="fate">How it ended.</param>
    /// <param name="dropsOutputs">Whether outputs are given up instead of passed on.</param>
    /// <returns>False when there is nothing more to read now, or the next output finds no slot.</returns>
    public bool TryReadFate(ChildSlot slot, [NotNullWhen(true)] out HeldInput? item, out Fate fate, bool dropsOutputs = false)
    {
        fate = default;
        while (slot.TryPeek(out Frame frame))
        {
            item = null;
            if (frame.Number != 0)
            {
                if (slot.FirstSent is HeldPack)
                    stage.Unpack();
                item = slot.FirstSent as HeldInput;
                if (item?.Number != frame.Number)
                {
                    Refuse(slot, $"A child of '{stage.Name}' sent a {frame.Type} frame for item {frame.Number}, which it does not hold.");
                    break;
                }
            }

            switch (frame.Type)
            {
                case FrameType.Result when dropsOutputs || IsGivingUp:
                    if (item is not null)
                        item.HasLostOutput = true;
                    slot.Advance();
                    continue;
                case FrameType.Result when frame.Port < slot.Outputs.Length:
                    if (TryPass(slot, item, frame))
                        continue;
                    break;
                case FrameType.StatusMark:
                    if (TryPassMark(slot, frame))
                        continue;
                    break;
                case FrameType.Done when item is not null:
                    fate = FateOfDone(item, frame);
                    slot.TakeAnswered(item);
                    return true;
                case FrameType.Failed when item is not null:
                    if (TryFail(slot, item, frame, out fate))
                        return true;
                    continue;
                case FrameType.Failed:
                    slot.Advance();
                    OnCodeFailed(frame);
                    if (!stage.IsDiscarding || IsGivingUp)
                        continue;
                    break;
                case FrameType.Completed or FrameType.Idle:
                    slot.Advance();
                    slot.HasCodeEnded = true;
                    continue;
                default:
                    Refuse(slot, $"A child of '{stage.Name}' sent a {frame.Type} frame for port {frame.Port} on the data connection.");
                    break;
            }

            break;
        }

        item = null;
        return false;
    }

    /// <summary>Passes on what comes next, if that is results of items that were sent as a pack, and settles these, as long as all goes its usual way.</summary>
    /// <returns>Whether some were, or the next link is full (<see cref="Full"/>). Otherwise what comes next is for <see cref="TryReadFate"/>.</returns>
    public bool TryPassPack(ChildSlot slot)
    {
        if (slot.FirstSent is not HeldPack held || IsGivingUp || order.HasFailure || !slot.TryPeekPack(out FramePack pack)
            || !pack.HasResults || pack.Number != held.Number || pack.Port >= slot.Outputs.Length)
            return false;
        ChildOutput output = slot.Outputs[pack.Port];
        if (!output.TryPassMany(ref pack, Math.Min(held.Count, Turn.ItemsPerLook)))
            Full = output.To;
        int passed = (int)(pack.Number - held.Number);
        if (passed == 0)
            return Full is not null;

        // First they are settled, then the child is told: it may send as much as it has slots for.
        bool isLast = held.SettleDelivered(passed);
        if (isLast)
            order.RemovePack();
        slot.TakeAnswered(pack, isLast);
        Owe(slot, pack.Port, passed);
        return true;
    }

    /// <summary>Whether a failure of an item is followed by another attempt.</summary>
    public bool IsTriedAgain(HeldInput item, Frame frame) =>
        (frame.Flags & (FrameFlags.Canceled | FrameFlags.NotCarried)) == 0 && item.Attempt <= stage.Options.ErrorPolicy.Retries;

    /// <summary>Before a wait: lets a child make as many outputs as were passed on since. At a full link a large window is paid in groups, so that not every slot costs a frame.</summary>
    public void PayCredits(ChildSlot slot)
    {
        for (int port = 0; port < slot.Outputs.Length; port++)
        {
            long owed = slot.Outputs[port].Owed;
            if (owed > 0 && (Full is null || owed * FullLinkGroups >= stage.WindowOf(slot.Outputs[port].To)))
                PayCredits(slot, port);
        }
    }

    private static void PayCredits(ChildSlot slot, int port)
    {
        slot.Child?.Say(FrameType.Credit, slot.Outputs[port].Owed, port: port);
        slot.Outputs[port].Owed = 0;
    }

    /// <summary>Reads on only when what the child had reported is to be seen.</summary>
    private bool TryPassMark(ChildSlot slot, Frame frame)
    {
        var reader = new FieldReader(frame.Payload);
        try
        {
            if (slot.Child?.HasReported(reader.Long()) == false)
                return false;
        }
        catch (ProtocolViolationException violation)
        {
            Refuse(slot, violation.Message);
            return false;
        }

        slot.Advance();
        return true;
    }

    /// <returns>False when the next link is full, the child was ended, or the stage gives up.</returns>
    private bool TryPass(ChildSlot slot, HeldInput? item, Frame frame)
    {
        ChildOutput output = slot.Outputs[frame.Port];
        try
        {
            // An item that has failed makes nothing more.
            if (item is not { OutputError: not null })
            {
                if (!output.TryPass(frame, slot.Speaker?.Data.LongPayload))
                {
                    Full = output.To;
                    return false;
                }

                if (item?.NotePassed() == true)
                    stage.Counters.CountRepeated();
            }
        }
        catch (ItemCodecException error) when (item is not null)
        {
            item.OutputError = error;
        }
        catch (ItemCodecException error)
        {
            slot.Advance();
            stage.Fail(error);
            return false;
        }
        catch (ProtocolViolationException violation)
        {
            Refuse(slot, violation.Message);
            return false;
        }

        bool isOwed = slot.Speaker is not null;
        slot.Advance();
        if (isOwed)
            Owe(slot, frame.Port, 1);
        return true;
    }

    /// <summary>Notes that slots of a link may be used again, and tells the child of many.</summary>
    private void Owe(ChildSlot slot, int port, int count)
    {
        ChildOutput output = slot.Outputs[port];
        if (!stage.IsWindowKept(output.To) && (output.Owed += count) * 2 >= stage.WindowOf(output.To))
            PayCredits(slot, port);
    }

    /// <summary>How an item ended that its child has handled.</summary>
    private Fate FateOfDone(HeldInput item, Frame frame)
    {
        if (item.OutputError is not { } error)
            return new Fate(item.HasLostOutput || frame.Flags.HasFlag(FrameFlags.WasRefused) ? FateKind.Discarded : FateKind.Delivered, null, item.Attempt);
        if (IsGivingUp)
            stage.AddSecondary(error, item.Number, item.Attempt);
        return new Fate(IsGivingUp ? FateKind.Discarded : AttemptRunner.FateOf(stage.Options.ErrorPolicy.Verdict), error, item.Attempt);
    }

    /// <returns>False when the item is tried again.</returns>
    private bool TryFail(ChildSlot slot, HeldInput item, Frame frame, out Fate fate)
    {
        Child? child = slot.Speaker;
        Exception error = ErrorOf(frame);
        if (frame.Flags.HasFlag(FrameFlags.TimedOut))
            error = new TimeoutException($"The handler of '{stage.Name}' took longer than {stage.ItemTimeoutName} ({stage.Options.ItemTimeout}) for item {item.Number}, attempt {item.Attempt}.", error);
        bool isCanceled = frame.Flags.HasFlag(FrameFlags.Canceled);
        ErrorPolicy policy = stage.Options.ErrorPolicy;
        fate = new Fate(isCanceled || IsGivingUp ? FateKind.Discarded : AttemptRunner.FateOf(policy.Verdict), error, item.Attempt);
        if (IsGivingUp)
        {
            if (!isCanceled)
                stage.AddSecondary(error, item.Number, item.Attempt);
        }
        else if (child is not null && IsTriedAgain(item, frame))
        {
            item.OutputError = null;
            slot.Advance();
            stage.Graph.Own(TryAgainLaterAsync(child, item.Number, ++item.Attempt));
            return false;
        }
        else if (policy.Verdict != ErrorVerdict.Fault && policy.Retries > 0)
        {
            child?.Say(FrameType.Proceed, item.Number);
        }

        slot.TakeAnswered(item);
        return true;
    }

    private async Task TryAgainLaterAsync(Child child, long number, int attempt)
    {
        TimeSpan delay = stage.Options.ErrorPolicy.RetryBackoff.DelayAfter(attempt - 1);
        if (delay > TimeSpan.Zero)
        {
            DateTimeOffset due = stage.Graph.Time.GetUtcNow() + delay;
            Task waiting = Task.Delay(delay, stage.Graph.Time, stage.DiscardToken);
            stage.OnRetryWait(due);
            await waiting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            stage.OnRetryWait(due: null);
        }

        if (!stage.IsDiscarding)
            child.Say(FrameType.Retry, number, attempt: attempt);
    }

    /// <summary>The code itself failed, outside of items.</summary>
    private void OnCodeFailed(Frame frame)
    {
        if (frame.Flags.HasFlag(FrameFlags.Canceled))
            return;
        if (IsGivingUp)
            stage.AddSecondary(ErrorOf(frame));
        else
            stage.Fail(ErrorOf(frame));
    }

    /// <summary>Ends a child because of what it sent; when it is gone already, the stage fails.</summary>
    private void Refuse(ChildSlot slot, string what)
    {
        var violation = new ProtocolViolationException(what);
        if (slot.Speaker is { } child)
            child.Break(violation);
        else
            stage.Fail(violation);
    }

    private static Exception ErrorOf(Frame frame)
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
}
