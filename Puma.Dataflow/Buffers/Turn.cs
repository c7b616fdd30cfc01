using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Buffers;

/// <summary>
/// A turn of a stage's stream: from a wake-up to its next wait, on one thread. While items are short, a turn keeps the wake-ups that it
/// causes for its own thread, which goes on with them when the turn ends, so that no other thread has to be woken for a few items; and its
/// writes do without the fence that each of them would need, because the end of the turn looks once more whether a reader sleeps.
/// </summary>
/// <remarks>
/// Only streams that were quick in their last turn keep things back, and only for streams that were quick. What a turn keeps back it gives
/// back when it ends, when that is older than <see cref="s_longest"/> at one of its looks, or, if its user code keeps the thread meanwhile, when
/// <see cref="TurnWatch"/> comes by.
/// <para>
/// A thread that receives what a child sends takes the turn of the stream that it wakes (<see cref="TakeWoken"/>), and all that is kept in it;
/// so does one that handles items of a pool (<see cref="TakeBesideOtherWork"/>).
/// </para>
/// <para>
/// All fields belong to the thread, but for the keeper, the relief and what is kept: these are taken by an exchange, by the thread or by the watch. The
/// watch takes the keeper away first, passes a barrier for all processors, and looks then; the thread writes first and looks for the keeper
/// then, without a fence. So whatever the thread leaves undone because it saw the keeper, the watch sees.
/// </para>
/// </remarks>
internal sealed class Turn
{
    /// <summary>After so many items a turn looks at the time.</summary>
    public const int ItemsPerLook = 64;

    /// <summary>20 microseconds, in timestamps: beside that it costs little to wake another thread.</summary>
    private static readonly long s_longest = TimeProvider.System.TimestampFrequency / 50_000;

    /// <summary>
    /// The same for turns on a thread that has other things to do, and for those that stay with who receives from a child: a quarter of a
    /// millisecond. The child, or who handles items, needs a processor, too, and threads of the pool that look for work take it away.
    /// </summary>
    private static readonly long s_longestBesideOtherWork = TimeProvider.System.TimestampFrequency / 4000;

    /// <summary>2.5 microseconds, in timestamps: four times as many items (<see cref="Looks"/>) that each take twice as long are still found short by the next look.</summary>
    private static readonly long s_veryShort = s_longest / 8;

    /// <summary>How long a thread goes on with what it keeps, in timestamps: a millisecond. Then others may have it.</summary>
    private static readonly long s_longestStay = TimeProvider.System.TimestampFrequency / 1000;

    /// <summary>2 microseconds, in timestamps: before that no other thread begins with what it is given.</summary>
    private static readonly long s_handOver = TimeProvider.System.TimestampFrequency / 500_000;

    /// <summary>With so many wake-ups a thread of the pool goes on itself; the others are for other threads, if that pays (<see cref="GivingAway"/>).</summary>
    private const uint MostOwn = 1;

    /// <summary>The most wake-ups that are kept. A power of two.</summary>
    private const uint MostKept = 8;

    [ThreadStatic]
    private static Turn? t_here;

    private readonly Wakeup?[] _kept = new Wakeup?[MostKept];

    // The kept ones are between the two; those that the watch has taken are null.
    private uint _first;
    private uint _next;

    // Whose turn it is.
    private ILinkEnd? _stream;

    // The same, while it keeps things back.
    private ILinkEnd? _keeper;

    // Whether it has kept things back in this turn, and how often that began in any. The number is read by the watch.
    private bool _hasKept;
    private int _keepings;

    // When the turn began, when the last look was, and when that was after which what is kept was; 0 while nothing is.
    private long _begin;
    private long _lastLook;
    private long _keptSince;
    private bool _isQuick;

    // When the stream began to wait, as it has noted itself; 0 before.
    private long _waitsSince;

    // While a receiver wakes, who stays with it is kept here for the turn that follows; else null.
    private bool _isWaking;
    private Wakeup? _woken;

    // Whether the thread takes turns between other things that it has to do.
    private bool _hasOtherWork;

    // Whether the stream of this turn stays with its receiver.
    private bool _stays;

    // Does elsewhere what the thread owes; null when it owes nothing. Taken by an exchange, by the thread or by the watch.
    private Action? _relief;

    // How often the thread has begun to owe something. Read by the watch.
    private int _debts;

    private Turn() { }

    /// <summary>Stands for no turn: it keeps nothing back.</summary>
    public static Turn None { get; } = new();

    /// <summary>How often the thread has begun to keep things back. Any thread.</summary>
    public int Keepings => Volatile.Read(ref _keepings);

    /// <summary>The same when the watch last came by. The watch's own.</summary>
    public int KeepingsSeen { get; set; }

    /// <summary>How often the thread has begun to owe something. Any thread.</summary>
    public int Debts => Volatile.Read(ref _debts);

    /// <summary>The same when the watch last came by. The watch's own.</summary>
    public int DebtsSeen { get; set; }

    /// <summary>Whether it owes something, which another thread can do. Any thread.</summary>
    public bool Owes => Volatile.Read(ref _relief) is not null;

    /// <summary>Whether something may be kept back. Any thread.</summary>
    public bool KeepsBack => Volatile.Read(ref _keeper) is not null || Array.Exists(_kept, static k => k is not null);

    /// <summary>The turns of this thread. Looking for them costs as much as a fence, so that who writes many values keeps what it has found: as long as it is on this thread.</summary>
    public static Turn? Here => t_here;

    /// <summary>The turns of this thread, made when it first needs them.</summary>
    public static Turn OfThread() => t_here ??= TurnWatch.Watched(new Turn());

    /// <summary>Whether this is a turn of a stream, on this thread, that keeps things back.</summary>
    public static bool IsKeeping(ILinkEnd stream) => t_here is { } turn && turn.KeepsBackFor(stream);

    /// <summary>Whether this is a turn of a stream that keeps things back. On the thread of the turn.</summary>
    public bool KeepsBackFor(ILinkEnd stream) => Volatile.Read(ref _keeper) == stream;

    /// <summary>Takes a turn, and those that are kept in it.</summary>
    public static void Take(Wakeup wakeup) => OfThread().TakeAll(wakeup);

    /// <summary>On a thread that receives: wakes who stays with it, and takes his turn, and those that are kept in it.</summary>
    /// <param name="wake">Wakes him; it must not throw.</param>
    /// <param name="relief">Receives elsewhere, when user code keeps the thread; null when nobody else needs it. It may be called on another thread, and must neither block nor throw.</param>
    /// <returns>False when it was called: the thread is to receive no more.</returns>
    public static bool TakeWoken(Action wake, Action? relief)
    {
        Turn turn = OfThread();
        Debug.Assert(turn._stream is null && turn._first == turn._next, "A thread that receives takes no turn meanwhile.");
        turn._isWaking = true;
        try
        {
            wake();
        }
        finally
        {
            turn._isWaking = false;
        }

        if (turn._woken is not { } woken)
            return true;
        turn._woken = null;
        return turn.TakeBesideOtherWork(woken, relief);
    }

    /// <summary>On a thread that has other things to do: takes a turn, and those that are kept in it.</summary>
    /// <param name="wakeup">Whose turn.</param>
    /// <param name="relief">Does those other things elsewhere, when user code keeps the thread; as in <see cref="Owe"/>.</param>
    /// <returns>False when the relief was called: the thread is to do them no more.</returns>
    public bool TakeBesideOtherWork(Wakeup wakeup, Action? relief)
    {
        ForgetContext();
        Owe(relief);
        _hasOtherWork = true;
        TakeAll(wakeup);
        _hasOtherWork = false;
        return Pay() || relief is null;
    }

    /// <summary>Notes what the thread has to do, but not before it has gone through user code, which may keep it: then the watch has it done elsewhere.</summary>
    /// <param name="relief">Does it. It may be called on another thread, and must neither block nor throw; null when there is nothing.</param>
    public void Owe(Action? relief)
    {
        Debug.Assert(!Owes, "One thing at a time.");
        if (relief is null)
            return;

        // The watch may see the new one with the old count, and is too early then, which harms nobody.
        Volatile.Write(ref _debts, _debts + 1);
        Volatile.Write(ref _relief, relief);
        TurnWatch.BeAwake();
    }

    /// <summary>Takes back what <see cref="Owe"/> has noted.</summary>
    /// <returns>Whether it is still to be done, by the caller.</returns>
    public bool Pay() => Interlocked.Exchange(ref _relief, null) is not null;

    /// <summary>Keeps a wake-up for this thread.</summary>
    /// <returns>False when it is not kept.</returns>
    public static bool TryKeep(Wakeup wakeup)
    {
        bool isQuick = wakeup is { IsQuick: true, Stream: not null };
        if ((!isQuick && !wakeup.StaysWithReceiver) || t_here is not { } turn)
            return false;
        return turn._isWaking ? turn.TryKeepWoken(wakeup) : isQuick && turn._keeper is not null && turn.TryAdd(wakeup);
    }

    /// <summary>Called by a stream when a look is due on one of its links.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="lookedAt">When it was called for this link before.</param>
    /// <returns>Whether the items of this turn since then were very short; there may have been only one.</returns>
    public static bool Look(ILinkEnd stream, ref long lookedAt) => t_here is { } turn && turn._stream == stream && turn.LookAtTime(ref lookedAt);

    /// <summary>Tells when a quick turn of a stream last looked at the time: not long ago.</summary>
    /// <returns>False when this is none.</returns>
    public static bool TryGetTime(ILinkEnd stream, out long recently)
    {
        bool isQuick = IsKeeping(stream);
        recently = isQuick ? t_here!._lastLook : 0;
        return isQuick;
    }

    /// <summary>Notes when a stream began to wait, which saves its turn a look.</summary>
    public static void NoteWait(ILinkEnd stream, long now)
    {
        if (t_here is { } turn && turn._stream == stream)
            turn._waitsSince = now;
    }

    /// <summary>Lets the thread keep nothing more back. The watch only, which passes a barrier for all processors before it gives back.</summary>
    public ILinkEnd? TakeKeeper() => Interlocked.Exchange(ref _keeper, null);

    /// <summary>Gives back what a thread keeps that does not go on. The watch only.</summary>
    public void GiveBack(ILinkEnd? keeper)
    {
        keeper?.EndTurn(this);
        foreach (ref Wakeup? place in _kept.AsSpan())
        {
            if (Interlocked.Exchange(ref place, null) is { } wakeup)
                Publish(wakeup);
        }
    }

    /// <summary>Lets another thread do what this one owes. The watch only.</summary>
    public void Relieve() => Interlocked.Exchange(ref _relief, null)?.Invoke();

    private void TakeAll(Wakeup first)
    {
        Debug.Assert(_stream is null, "A thread takes one turn at a time.");
        _begin = TimeProvider.System.GetTimestamp();
        long arrival = _begin;
        Wakeup? given = null;
        long givenAt = 0;
        for (Wakeup? wakeup = first; wakeup is not null; wakeup = TakeKept())
        {
            _stream = wakeup.Stream;
            _stays = wakeup.StaysWithReceiver;
            (_lastLook, _keptSince, _isQuick) = (_begin, 0, true);
            if (wakeup.IsQuick)
                KeepBack();
            wakeup.Resume();
            _stream?.UseRestOfTurn(this);

            ForgetContext();
            StopKeeping();
            _stream = null;
            long end = _waitsSince != 0 ? _waitsSince : TimeProvider.System.GetTimestamp();
            _waitsSince = 0;
            wakeup.IsQuick = _isQuick && end - _lastLook <= (_stays ? s_longestBesideOtherWork : s_longest);
            _begin = end;
            if (end - arrival > s_longestStay)
                PublishAll();
            if (!_hasOtherWork && GiveAway() is { } last)
                (given, givenAt) = (last, end);
        }

        given?.GivingAway.Note(hasPaid: _begin - givenAt >= s_handOver);
    }

    /// <summary>What user code has left on the thread is not for the next stream.</summary>
    private static void ForgetContext()
    {
        if (SynchronizationContext.Current is not null)
            SynchronizationContext.SetSynchronizationContext(null);
    }

    /// <summary>Gives the newest ones to other threads, as far as that pays.</summary>
    /// <returns>The last of them: how long the thread still has other work, tells of that one.</returns>
    private Wakeup? GiveAway()
    {
        Wakeup? given = null;
        while (_next - _first > MostOwn)
        {
            ref Wakeup? newest = ref _kept[(_next - 1) & (MostKept - 1)];
            if (Volatile.Read(ref newest) is { } wakeup && !wakeup.GivingAway.Decide())
                break;
            _next--;

            // Or the watch has it.
            if (Interlocked.Exchange(ref newest, null) is not { } taken)
                continue;
            given = taken;
            Publish(taken);
        }

        return given;
    }

    /// <inheritdoc cref="Look" path="/returns"/>
    private bool LookAtTime(ref long lookedAt)
    {
        long now = TimeProvider.System.GetTimestamp();
        (long before, long last) = (lookedAt, _lastLook);
        lookedAt = _lastLook = now;
        _waitsSince = 0;

        // Many items lie between two looks for the same link; between looks for different ones there may be one, which may still be long.
        long took = now - Math.Max(before, _begin);
        _isQuick = took <= (_stays ? s_longestBesideOtherWork : s_longest);
        long longestKept = _hasOtherWork || _stays ? s_longestBesideOtherWork : s_longest;
        if (!_isQuick || now - last > longestKept)
        {
            StopKeeping();
            PublishAll();
            return false;
        }

        if (_keeper is null && before >= _begin)
            KeepBack();
        if (_first == _next)
            _keptSince = 0;
        else if (_keptSince == 0)
            _keptSince = last;
        else if (now - _keptSince > longestKept)
            PublishAll();
        return took <= s_veryShort;
    }

    private void KeepBack()
    {
        if (_stream is null)
            return;
        _hasKept = true;
        Volatile.Write(ref _keepings, _keepings + 1);
        Volatile.Write(ref _keeper, _stream);
        TurnWatch.BeAwake();
    }

    /// <summary>From here on nothing is kept back, and what the stream has left undone is done, by this thread, whoever has taken the keeper.</summary>
    private void StopKeeping()
    {
        if (!_hasKept)
            return;
        _hasKept = false;
        Interlocked.Exchange(ref _keeper, null);
        _stream!.EndTurn(this);
    }

    private bool TryKeepWoken(Wakeup wakeup) => wakeup.StaysWithReceiver && (_woken ??= wakeup) == wakeup;

    private bool TryAdd(Wakeup wakeup)
    {
        if (_next - _first == MostKept)
            return false;
        ref Wakeup? place = ref _kept[_next++ & (MostKept - 1)];
        Volatile.Write(ref place, wakeup);

        // The watch may have taken the keeper away, and looked for what is kept before this was there.
        return Volatile.Read(ref _keeper) is not null || Interlocked.Exchange(ref place, null) is null;
    }

    private Wakeup? TakeKept()
    {
        while (_first != _next)
        {
            if (Interlocked.Exchange(ref _kept[_first++ & (MostKept - 1)], null) is { } wakeup)
                return wakeup;
        }

        return null;
    }

    /// <summary>Gives all to other threads.</summary>
    private void PublishAll()
    {
        _keptSince = 0;
        while (_next != _first)
        {
            if (Interlocked.Exchange(ref _kept[--_next & (MostKept - 1)], null) is { } wakeup)
                Publish(wakeup);
        }
    }

    private static void Publish(Wakeup wakeup) => ThreadPool.UnsafeQueueUserWorkItem(wakeup, preferLocal: false);
}
