using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Gathers results of short items, which are their ends, too, and sends them as one frame: when the stream says so, or after a millisecond if user code keeps it.</summary>
/// <remarks>
/// The packer is the stream's while it adds, which costs it no fence, and otherwise of who has the gate. Who sends in place of the stream says
/// so, passes a barrier for all processors, and waits for an addition that has not seen it.
/// </remarks>
internal sealed class PackedResults : IDisposable
{
    private readonly FrameChannel _data;
    private readonly FramePacker _packer = new();
    private readonly Lock _gate = new();
    private readonly LateSignal _late;

    // 1 while the stream adds. Written by the stream.
    private int _isAdding;

    // 1 while somebody sends in its place. Written inside of _gate.
    private int _isTaken;

    public PackedResults(FrameChannel data)
    {
        _data = data;
        _late = new LateSignal(SendLate);
    }

    /// <summary>Adds the result of the next item. The stream only.</summary>
    public void Add(long number, ReadOnlySpan<byte> payload)
    {
        Volatile.Write(ref _isAdding, 1);
        if (Volatile.Read(ref _isTaken) != 0)
            WaitUntilItIsReturned();
        payload.CopyTo(_packer.Room);
        _packer.Add(number, payload.Length);
        (bool isFirst, bool isFull) = (_packer.Count == 1, !_packer.HasRoom);
        Volatile.Write(ref _isAdding, 0);
        if (isFirst)
            _late.Soon();
        if (isFull)
            Write();
    }

    /// <summary>Writes what was gathered; it goes out with the next flush. The stream only, before it writes anything else.</summary>
    public void Write()
    {
        lock (_gate)
            WriteLocked();
    }

    public void Dispose() => _late.Dispose();

    private void WaitUntilItIsReturned()
    {
        Volatile.Write(ref _isAdding, 0);
        lock (_gate)
            Volatile.Write(ref _isAdding, 1);
    }

    private void SendLate()
    {
        lock (_gate)
        {
            Volatile.Write(ref _isTaken, 1);
            Interlocked.MemoryBarrierProcessWide();
            var spin = default(SpinWait);
            while (Volatile.Read(ref _isAdding) != 0)
                spin.SpinOnce();
            WriteLocked();
            Volatile.Write(ref _isTaken, 0);
        }

        _data.Flush();
    }

    private void WriteLocked()
    {
        if (_packer.Count == 0)
            return;
        _data.Write(FrameType.PackedResults, _packer.First, _packer.Payload, attempt: 1);
        _packer.Clear();
    }
}
