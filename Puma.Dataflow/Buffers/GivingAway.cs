namespace Puma.Dataflow.Buffers;

/// <summary>
/// Learns whether it pays to give a stream's wake-up to another thread. It does when the giver is still busy with its other wake-ups by the
/// time another thread would have begun; else it might have gone on with this one itself, as soon, and waking nobody.
/// </summary>
/// <remarks>
/// Asked by who keeps the wake-up, one thread at a time; told by who gave it away, a little later. When the two meet, what one of them says
/// may be lost: then a wake-up more or less goes to another thread.
/// </remarks>
internal struct GivingAway
{
    /// <summary>After so many in succession that did not pay, the answer is no.</summary>
    public const int MostInVain = 4;

    /// <summary>After so many noes it is given away once, as a trial.</summary>
    public const int NoesBeforeTrial = 256;

    // How many did not pay, and then how many noes there were, in succession.
    private int _inVain;

    /// <summary>Decides whether it is given away this time.</summary>
    public bool Decide()
    {
        if (_inVain < MostInVain)
            return true;
        if (_inVain++ < MostInVain + NoesBeforeTrial)
            return false;
        _inVain = MostInVain - 1;
        return true;
    }

    /// <summary>Says what came of it.</summary>
    public void Note(bool hasPaid) => _inVain = hasPaid ? 0 : _inVain + 1;
}
