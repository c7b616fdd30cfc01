namespace Puma.Dataflow.Isolation.Transport;

/// <summary>What is on its way to the other side, which has not taken it up yet, and whether more may follow. Guarded by its owner's lock.</summary>
/// <param name="maxBytes">How many bytes may be on their way, if they are of more than one message.</param>
/// <param name="maxCount">How many messages may.</param>
internal sealed class SendWindow(int maxBytes, int maxCount = int.MaxValue)
{
    private readonly Queue<(long Number, int Length)> _underWay = [];
    private long _bytes;

    /// <summary>The number of the oldest; null for none.</summary>
    public long? Oldest => _underWay.TryPeek(out (long Number, int Length) first) ? first.Number : null;

    public bool HasRoomFor(int length) => _underWay.Count == 0 || (_underWay.Count < maxCount && _bytes + length <= maxBytes);

    public void OnSent(long number, int length)
    {
        _underWay.Enqueue((number, length));
        _bytes += length;
    }

    /// <summary>The other side has taken up the messages up to this one.</summary>
    public void OnTaken(long number)
    {
        while (Oldest <= number)
            _bytes -= _underWay.Dequeue().Length;
    }
}
