using System.Diagnostics;

namespace Puma.Dataflow.Stages;

/// <summary>
/// Who may do the work of a stage's stream: the stream itself, or user code's thread to which it has been lent, until that has returned it
/// or is found in user code, where anybody may take it away.
/// </summary>
/// <remarks>
/// Every change is a full fence: whoever has the baton sees what was done by who had it before.
/// </remarks>
internal sealed class Baton
{
    private const int Home = 0;
    private const int Offered = 1;
    private const int Away = 2;
    private const int Recalled = 3;
    private const int InUserCode = 4;

    private int _state;

    /// <summary>Offers it. The stream, which then only waits until it is home; and not before whoever it was taken from in user code has learnt that from <see cref="TryLeaveUserCode"/>.</summary>
    public void Offer()
    {
        int before = Interlocked.Exchange(ref _state, Offered);
        Debug.Assert(before == Home, "The stream offers what it has.");
    }

    /// <summary>Whether the stream has it.</summary>
    public bool IsHome => Volatile.Read(ref _state) == Home;

    /// <summary>Asks for it. The stream takes it home from who has not begun, or is in user code; any other returns it soon, and wakes the stream.</summary>
    /// <returns>Whether the stream has it now.</returns>
    public bool Recall()
    {
        while (true)
        {
            int state = Volatile.Read(ref _state);
            switch (state)
            {
                case Home:
                    return true;
                case Recalled:
                    return false;
                case Away when Interlocked.CompareExchange(ref _state, Recalled, Away) == Away:
                    return false;
                case Offered or InUserCode when Interlocked.CompareExchange(ref _state, Home, state) == state:
                    return true;
            }
        }
    }

    /// <summary>Takes back an offer that nobody has taken up.</summary>
    public bool TryWithdraw() => Interlocked.CompareExchange(ref _state, Home, Offered) == Offered;

    /// <summary>The same as <see cref="Recall"/> for others than the stream. An offer stands, but for one that is made meanwhile; the stream makes it again.</summary>
    /// <returns>Whether it came home by that, which the stream has to be told.</returns>
    public bool RecallForStream() => Volatile.Read(ref _state) is Away or InUserCode && Recall();

    /// <summary>Takes up the offer.</summary>
    /// <returns>False when there is none.</returns>
    public bool TryTake() => Volatile.Read(ref _state) == Offered && Interlocked.CompareExchange(ref _state, Away, Offered) == Offered;

    /// <summary>Says that user code begins, during which the baton may be taken away. By who has taken it.</summary>
    /// <returns>False when it has to be returned.</returns>
    public bool TryEnterUserCode() => Interlocked.CompareExchange(ref _state, InUserCode, Away) == Away;

    /// <summary>Says that user code has returned.</summary>
    /// <returns>False when the baton was taken away.</returns>
    public bool TryLeaveUserCode() => Interlocked.CompareExchange(ref _state, Away, InUserCode) == InUserCode;

    /// <summary>Gives it back. By who has taken it, who then wakes the stream.</summary>
    public void Return()
    {
        int before = Interlocked.Exchange(ref _state, Home);
        Debug.Assert(before is Away or Recalled, "Only who has it can return it.");
    }
}
