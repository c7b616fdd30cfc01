using Puma.Dataflow.Isolation.Supervision;

namespace Puma.Dataflow.Stages;

/// <summary>The place of one child of an isolated stage: the child itself, or the one that takes its place, and the items that it was given. Belongs to the stage's stream.</summary>
internal sealed class ChildSlot(int index)
{
    public int Index => index;

    /// <summary>The outputs of the child, by port.</summary>
    public ChildOutput[] Outputs { get; set; } = [];

    public Child? Child { get; set; }

    /// <summary>The start of a child that is under way.</summary>
    public Task<Child>? Starting { get; set; }

    /// <summary>What the child was sent and has not settled, in order.</summary>
    public Queue<HeldInput> Sent { get; private set; } = [];

    /// <summary>What it is to be sent, in order.</summary>
    public Queue<HeldInput> Waiting { get; private set; } = [];

    /// <summary>The child handles nothing more.</summary>
    public bool IsIdle { get; set; }

    /// <summary>The child's code has ended as completed.</summary>
    public bool IsCompleted { get; set; }

    public bool IsCompleteSent { get; set; }

    /// <summary>When, on the system's clock, the last restarts began.</summary>
    public Queue<long> Restarts { get; } = [];

    /// <summary>Whether the policy allows one more restart now.</summary>
    public bool HasBudget(RestartPolicy policy, TimeProvider clock)
    {
        long now = clock.GetTimestamp();
        while (Restarts.TryPeek(out long begun) && clock.GetElapsedTime(begun, now) > policy.Window)
            Restarts.Dequeue();
        return Restarts.Count < policy.MaxRestarts;
    }

    /// <summary>Adds to the end of a child why it is not restarted, if it might have been.</summary>
    public ChildExit NoteBudget(ChildExit exit, LossPolicy? policy) => policy is RestartPolicy restart && Restarts.Count >= restart.MaxRestarts
        ? exit with { Description = $"{exit.Description} It was restarted {Restarts.Count} times within {restart.Window} before, which is as often as its loss policy allows." }
        : exit;

    /// <summary>How many losses came one after the other without a settled item between them.</summary>
    public int LossesInARow { get; set; }

    public int Load => Sent.Count + Waiting.Count;

    /// <summary>Whether nothing more is to be expected of the slot.</summary>
    public bool IsOver => IsIdle || IsCompleted || (Child is null && Starting is null);

    /// <summary>Everything that was sent waits again, for the next child.</summary>
    public void TakeBack()
    {
        foreach (HeldInput item in Waiting)
            Sent.Enqueue(item);
        Waiting = Sent;
        Sent = [];
        IsCompleteSent = false;
    }

    /// <summary>Takes an item out of those that wait, because it is settled otherwise.</summary>
    public void Withdraw(HeldInput item) => Waiting = new Queue<HeldInput>(Waiting.Where(i => i != item));
}
