namespace Puma.Dataflow.Buffers;

/// <summary>
/// Comes by once in a millisecond, or as often as the system's timer lets it (every 15.6 ms on Windows by default), while there are short turns
/// or debts. From a turn whose user code blocks its thread it gives back what that keeps, and
/// has done elsewhere what it owes. One thread for the process.
/// </summary>
internal static class TurnWatch
{
    /// <summary>After so many rounds without a turn it sleeps until there is one.</summary>
    private const int IdleRounds = 50;

    private static readonly Lock s_gate = new();
    private static readonly AutoResetEvent s_wakeup = new(false);

    // Guarded by s_gate. Weak: threads come and go.
    private static readonly List<WeakReference<Turn>> s_turns = [];
    private static Thread? s_thread;

    // 1 while it goes its rounds, or is about to.
    private static int s_isAwake;

    /// <summary>Watches the turns of one more thread.</summary>
    public static Turn Watched(Turn turn)
    {
        lock (s_gate)
        {
            s_turns.RemoveAll(static t => !t.TryGetTarget(out _));
            s_turns.Add(new WeakReference<Turn>(turn));
            if (s_thread is null)
            {
                s_thread = new Thread(Watch) { IsBackground = true, Name = "puma-turn-watch" };
                s_thread.UnsafeStart();
            }
        }

        return turn;
    }

    /// <summary>Makes it come by. After the turn has said that it keeps things back, or owes something; a barrier for all processors comes before the watch sleeps.</summary>
    public static void BeAwake()
    {
        if (Volatile.Read(ref s_isAwake) == 0 && Interlocked.Exchange(ref s_isAwake, 1) == 0)
            s_wakeup.Set();
    }

    private static void Watch()
    {
        while (true)
        {
            s_wakeup.WaitOne();
            for (int idle = 0; idle < IdleRounds;)
            {
                s_wakeup.WaitOne(1);
                idle = ComeBy() ? 0 : idle + 1;
                if (idle < IdleRounds)
                    continue;
                Volatile.Write(ref s_isAwake, 0);
                Interlocked.MemoryBarrierProcessWide();
                if (Turns().Exists(static t => t.KeepsBack || t.Owes) && Interlocked.Exchange(ref s_isAwake, 1) == 0)
                    idle = 0;
            }
        }
    }

    /// <returns>Whether a thread has begun to keep things back, or to owe something, since the last round.</returns>
    private static bool ComeBy()
    {
        bool isAny = false;
        List<(Turn Turn, ILinkEnd? Keeper)> stuck = [];
        foreach (Turn turn in Turns())
        {
            int keepings = turn.Keepings;
            if (keepings != turn.KeepingsSeen)
                isAny = true;
            else if (turn.KeepsBack)
                stuck.Add((turn, turn.TakeKeeper()));
            turn.KeepingsSeen = keepings;

            // However it goes on: another process waits for who receives, and a stream for what an instance has not told.
            int debts = turn.Debts;
            if (debts != turn.DebtsSeen)
                isAny = true;
            else
                turn.Relieve();
            turn.DebtsSeen = debts;
        }

        if (stuck.Count == 0)
            return isAny;
        Interlocked.MemoryBarrierProcessWide();
        foreach ((Turn turn, ILinkEnd? keeper) in stuck)
            turn.GiveBack(keeper);
        return true;
    }

    private static List<Turn> Turns()
    {
        lock (s_gate)
        {
            List<Turn> turns = new(s_turns.Count);
            foreach (WeakReference<Turn> weak in s_turns)
            {
                if (weak.TryGetTarget(out Turn? turn))
                    turns.Add(turn);
            }

            return turns;
        }
    }
}
