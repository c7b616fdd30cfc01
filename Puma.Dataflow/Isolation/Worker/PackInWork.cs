namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Items of a pack while the code handles them in one go: they have one attempt each, and one token together. Belongs to the worker's stream.</summary>
internal sealed class PackInWork(StageContext context, WorkerControl control)
{
    public CancellationToken Token { get; private set; }

    /// <summary>Begins with the first item.</summary>
    /// <returns>False when that is not to be begun.</returns>
    public bool TryStart(long number)
    {
        if (!control.Item.TryBegin(number, attempt: 1, out CancellationToken token))
            return false;
        (Token, context.Attempt) = (token, 1);
        return true;
    }

    /// <summary>Lets an item begin, the first one, too.</summary>
    /// <returns>False when the loop is to look at what it was told.</returns>
    public bool TryBegin(long number)
    {
        if (control.NeedsAttention)
            return false;
        control.Item.GoOn(number);
        context.ItemNumber = number;
        return true;
    }

    public void End() => control.Item.EndAttempt();
}
