using System.Buffers;
using System.Diagnostics;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Supervision;

namespace Puma.Dataflow.Stages;

/// <summary>The place of one child of an isolated stage: the child itself, or the one that takes its place, and the items that it was given. Belongs to the stage's stream.</summary>
internal sealed class ChildSlot(int index)
{
    // What the child was sent and has not settled, in order.
    private Queue<Held> _sent = [];

    // What a child that is gone has said and the stage has not read; comes before all that the next child says.
    private Queue<Frame> _unread = [];

    public int Index => index;

    /// <summary>The outputs of the child, by port.</summary>
    public ChildOutput[] Outputs { get; set; } = [];

    public Child? Child { get; set; }

    /// <summary>The start of a child that is under way.</summary>
    public Task<Child>? Starting { get; set; }

    /// <summary>What the child was sent and has not settled, in order. There is no pack among it: see <see cref="Unpack"/>.</summary>
    public IEnumerable<HeldInput> Sent => _sent.Cast<HeldInput>();

    public bool HasSent => _sent.Count > 0;

    /// <summary>The oldest of that, or the pack that begins with it.</summary>
    public Held? FirstSent => _sent.TryPeek(out Held? first) ? first : null;

    /// <summary>What it is to be sent, in order.</summary>
    public Queue<HeldInput> Waiting { get; private set; } = [];

    /// <summary>The child's code has ended: it handles nothing more.</summary>
    public bool HasCodeEnded { get; set; }

    public bool IsCompleteSent { get; set; }

    /// <summary>How many losses came one after the other without a settled item between them.</summary>
    public int LossesInARow { get; set; }

    /// <summary>When, on the system's clock, the last restarts began.</summary>
    public Queue<long> Restarts { get; } = [];

    /// <summary>How much it holds. A pack counts as one; there are packs only where there is one child.</summary>
    public int Load => _sent.Count + Waiting.Count;

    /// <summary>The child that said what is read next; null when that one is gone.</summary>
    public Child? Speaker => _unread.Count > 0 ? null : Child;

    /// <summary>Whether nothing more is to be expected of the slot.</summary>
    public bool IsOver => HasCodeEnded || (Starting is null && IsEmpty);

    /// <summary>Whether the child's code has ended, as far as it was read or kept.</summary>
    public bool HasSaidItsEnd => HasCodeEnded || _unread.Any(static f => f.Type is FrameType.Completed or FrameType.Idle);

    /// <summary>Whether no child is there, nor anything that one said.</summary>
    public bool IsEmpty => Child is null && _unread.Count == 0;

    /// <summary>Whether the child is there and takes items.</summary>
    public bool TakesItems => Child is { Exited.IsCompleted: false } child && !HasCodeEnded && !child.Data.IsCongested;

    /// <summary>Whether the policy allows one more restart now.</summary>
    public bool HasBudget(RestartPolicy policy, TimeProvider clock)
    {
        long now = clock.GetTimestamp();
        while (Restarts.TryPeek(out long begun) && clock.GetElapsedTime(begun, now) > policy.Window)
            Restarts.Dequeue();
        return Restarts.Count < policy.MaxRestarts;
    }

    /// <summary>Adds to the end of a child why it is not restarted.</summary>
    public ChildExit NoteBudget(ChildExit exit, LossPolicy? policy) => policy switch
    {
        null => exit,
        RestartPolicy restart when Restarts.Count >= restart.MaxRestarts => exit with { Description = $"{exit.Description} It was restarted {Restarts.Count} times within {restart.Window} before, which is as often as its loss policy allows." },
        RestartPolicy => exit,
        _ => exit with { Description = $"{exit.Description} Its OnLoss is LossPolicy.Fault; LossPolicy.Restart() would go on with another child." },
    };

    /// <summary>Shows what comes next from the child that was there, then from the one that is.</summary>
    public bool TryPeek(out Frame frame)
    {
        if (_unread.TryPeek(out frame))
            return true;
        frame = default;
        return Child is { } child && child.TryPeek(out frame);
    }

    /// <summary>Shows the pack that comes next.</summary>
    /// <returns>False when none does, or what the child said is kept.</returns>
    public bool TryPeekPack(out FramePack pack)
    {
        pack = default;
        return Speaker is { } child && child.TryPeek(out _) && child.Data.TryPeekPack(out pack);
    }

    public void Advance()
    {
        if (_unread.Count > 0)
            _unread.Dequeue();
        else
            Child!.Advance();
    }

    public void AddSent(Held held) => _sent.Enqueue(held);

    /// <summary>Goes on after the answer to the oldest item that was sent.</summary>
    public void TakeAnswered(HeldInput item)
    {
        Advance();
        Held first = _sent.Dequeue();
        Debug.Assert(first == item, "A child settles its items in order.");
        LossesInARow = 0;
    }

    /// <summary>Goes on behind what was read of a pack of results: the answers to items of the pack that was sent first.</summary>
    /// <param name="pack">What was read.</param>
    /// <param name="isLast">Whether the pack that was sent first is answered whole.</param>
    public void TakeAnswered(in FramePack pack, bool isLast)
    {
        Child!.Data.Advance(pack);
        if (isLast)
            _sent.Dequeue();
        LossesInARow = 0;
    }

    /// <summary>Takes all packs apart.</summary>
    public void Unpack() => _sent = new Queue<Held>(_sent.SelectMany(static h => h.TakeApart()));

    /// <summary>Keeps what a child that has exited still said, so that its loss need not wait until the order lets it be read.</summary>
    public void KeepUnread(Child lost)
    {
        while (lost.TryPeek(out Frame frame))
        {
            _unread.Enqueue(frame with { Payload = new ReadOnlySequence<byte>(frame.Payload.ToArray()) });
            lost.Advance();
        }
    }

    /// <summary>Parts with a child: what it has answered stays to be read, everything else that it was sent waits again.</summary>
    /// <param name="isOneToOne">Whether an item is answered by its one output.</param>
    /// <param name="isTriedAgain">Whether a failure of an item was not its last.</param>
    /// <returns>The items that it was sent and has not answered.</returns>
    public HeldInput[] TakeBack(bool isOneToOne, Func<HeldInput, Frame, bool> isTriedAgain)
    {
        Child = null;
        IsCompleteSent = false;
        var sent = new Queue<HeldInput>(Sent);
        var answered = new Queue<Held>();
        var read = new Queue<Frame>();
        foreach (Frame frame in _unread)
        {
            // All that it had reported has come by now.
            if (frame.Type == FrameType.StatusMark)
                continue;
            HeldInput? item = null;
            if (frame.Number != 0 && !(sent.TryPeek(out item) && item.Number == frame.Number))
                break; // From here on it cannot be believed.
            if (frame.Type is FrameType.Done or FrameType.Failed && item is not null)
            {
                if (frame.Type == FrameType.Failed && isTriedAgain(item, frame))
                {
                    item.Attempt++;
                    break;
                }

                answered.Enqueue(sent.Dequeue());
            }

            read.Enqueue(frame);
        }

        if (sent.TryPeek(out HeldInput? first))
        {
            if (first.OutputError is not null || (isOneToOne && (first.Passed > 0 || read.Any(f => f.Number == first.Number))))
            {
                // It has failed, or its one output has left, of which handling it again would make a second one.
                read.Enqueue(new Frame(FrameType.Done, 0, 0, FrameFlags.None, first.Number, default));
                answered.Enqueue(sent.Dequeue());
            }
            else
            {
                // These were not passed on: the next child makes them again.
                read = new Queue<Frame>(read.Where(f => f.Number != first.Number));
            }
        }

        HeldInput[] unanswered = [.. sent];
        Waiting = new Queue<HeldInput>(unanswered.Concat(Waiting));
        (_sent, _unread) = (answered, read);
        return unanswered;
    }

    /// <summary>Takes an item out of those that wait, because it is settled otherwise.</summary>
    public void Withdraw(HeldInput item) => Waiting = new Queue<HeldInput>(Waiting.Where(i => i != item));

    /// <summary>Forgets all items, which were settled.</summary>
    public void Clear()
    {
        _sent.Clear();
        Waiting.Clear();
    }
}
