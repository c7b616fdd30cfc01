namespace Puma.Dataflow.Buffers;

/// <summary>
/// Learns whether it pays to give a stream's wake-up to another thread while its own has others to go on with. It does not when that has done
/// with these before another one would have begun: then it might have gone on with this one as well.
/// </summary>
/// <remarks>
/// Asked by who keeps the wake-up, one thread at a time; told by who gave it away, a little later. When the two meet, what one of them says may be lost: a wake-up more
/// or less goes to another thread.
/// </remarks>
internal struct GivingAway
{
    /// <summary>After so many in succession that did not pay, it is kept.</summary>
    public const int MostInVain = 4;

    /// <summary>It is kept so often; then another thread is tried once more.</summary>
    public const int KeptInSuccession = 256;

    // How many did not pay, and then how often it was kept, in succession.
    private int _inVain;

    /// <summary>Whether it is to be given away this time.</summary>
    public bool IsDue()
    {
        if (_inVain < MostInVain)
            return true;
        if (_inVain++ < MostInVain + KeptInSuccession)
            return false;
        _inVain = MostInVain - 1;
        return true;
    }

    /// <summary>Says what came of it.</summary>
    public void Note(bool hasPaid) => _inVain = hasPaid ? 0 : _inVain + 1;
}
