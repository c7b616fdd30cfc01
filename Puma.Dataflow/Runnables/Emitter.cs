namespace Puma.Dataflow.Runnables;

/// <summary>Where user code hands its outputs over.</summary>
internal abstract class Emitter<T>
{
    /// <summary>Hands a value over; completes when it was accepted. Throws <see cref="OperationCanceledException"/> when nobody may emit any more.</summary>
    public abstract ValueTask EmitAsync(T value, CancellationToken cancellationToken);

    /// <summary>The same for the library's own handlers and bodies, which await each of their emits.</summary>
    public virtual ValueTask PassAsync(T value, CancellationToken cancellationToken) => EmitAsync(value, cancellationToken);

    /// <summary>For bodies: passes on what a sequence gives, as long as each value is accepted at once and the body has been told nothing.</summary>
    /// <param name="items">The sequence.</param>
    /// <param name="late">The first value for which that is not so; <see cref="PassAsync"/> is due for it.</param>
    /// <returns>Whether there is one; if not, the sequence has ended.</returns>
    public virtual bool PassOn(IEnumerator<T> items, out T late)
    {
        bool isThere = items.MoveNext();
        late = isThere ? items.Current : default!;
        return isThere;
    }

    /// <summary>Whether a value was refused since this was last asked for an item. The stage's own stream only.</summary>
    public bool WasRefused { get; protected set; }

    /// <summary>Whether a source should emit no more.</summary>
    public virtual bool IsStopping => false;

    /// <summary>How many values would be accepted now without a wait.</summary>
    public virtual int Room => 0;

    /// <summary>The stream of the body that emits here; null when it is none.</summary>
    public virtual IBodyStream? Body => null;
}

/// <summary>The time that a handler may take for an item.</summary>
internal interface IItemClock
{
    /// <summary>Whether it has run out: the item fails when its handler returns, and what is emitted until then is refused.</summary>
    bool HasRunOut { get; }

    /// <summary>Stops the time. Each call needs one of <see cref="Resume"/>.</summary>
    void Pause();

    /// <summary>Lets the time run on.</summary>
    void Resume();
}

/// <summary>Says that the time of an item has run out.</summary>
internal static class ItemTime
{
    public static OperationCanceledException RunOut(string stage, CancellationToken token) =>
        new($"The time of this item has run out (ItemTimeout of '{stage}'); nothing can be emitted for it any more.", token);
}

/// <summary>The outputs of one attempt at an item.</summary>
internal interface IAttemptOutputs
{
    /// <summary>The clock of the item in work, which stands still while an output waits for a slot; null when there is none.</summary>
    IItemClock? Clock
    {
        set { }
    }

    /// <summary>Keeps outputs back from here on.</summary>
    void Hold();

    /// <summary>Drops what was kept back.</summary>
    void DropHeld();

    /// <summary>Passes on what was kept back.</summary>
    ValueTask PassHeldAsync();

    /// <summary>Returns when no emit is on its way: user code that has returned may have left one behind, whose value must not be lost.</summary>
    ValueTask EmitsReturnedAsync() => default;

    /// <summary>Whether an output of the current item was refused; reading clears it.</summary>
    bool TakeRefused();
}
