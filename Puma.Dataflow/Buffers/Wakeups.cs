namespace Puma.Dataflow.Buffers;

/// <summary>
/// The signal of a stream, and those of the emits that may wait beside it. Whatever changes is told to all of them, and each keeps its own
/// signal: with one for all, who waits second might find that the first one has taken it.
/// </summary>
internal sealed class Wakeups
{
    // Replaced as a whole, by the stream before others wait there.
    private volatile Wakeup[] _others = [];

    /// <summary>The stream's.</summary>
    public Wakeup Stream { get; } = new();

    /// <summary>Adds one. The stream only.</summary>
    public Wakeup Add()
    {
        var added = new Wakeup();
        _others = [.. _others, added];
        return added;
    }

    /// <summary>Takes one away where nobody waits any more. The stream only.</summary>
    public void Remove(Wakeup other) => _others = [.. _others.Where(o => o != other)];

    /// <summary>Signals. Any thread.</summary>
    public void Set()
    {
        Stream.Set();
        SetOthers();
    }

    /// <inheritdoc cref="Wakeup.TrySetForCaller"/>
    public bool TrySetForCaller()
    {
        SetOthers();
        return Stream.TrySetForCaller();
    }

    private void SetOthers()
    {
        foreach (Wakeup other in _others)
            other.Set();
    }
}
