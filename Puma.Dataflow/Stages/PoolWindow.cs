using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Puma.Dataflow.Stages;

/// <summary>
/// What a pool has in hand, in the order in which its outputs come: items, from when they were read until they are settled, and the turns of
/// instances for their commands and ticks. Not safe for several threads.
/// </summary>
internal sealed class PoolWindow<TIn, TOut>
{
    /// <summary>So many empty places before the oldest one are given up.</summary>
    private const int MostEmpty = 64;

    // The places before the head are empty.
    private readonly List<WorkItem<TIn, TOut>> _all = [];
    private int _head;

    public int Count => _all.Count - _head;

    public WorkItem<TIn, TOut> this[int index] => _all[_head + index];

    public WorkItem<TIn, TOut> Oldest => _all[_head];

    /// <summary>Whether an item is not settled; turns are none.</summary>
    public bool HasItems => Exists(static w => !w.IsCheckpoint);

    /// <summary>All of them, until the window is changed.</summary>
    public ReadOnlySpan<WorkItem<TIn, TOut>> All => CollectionsMarshal.AsSpan(_all)[_head..];

    public bool Exists(Predicate<WorkItem<TIn, TOut>> match) => _all.FindIndex(_head, match) >= 0;

    /// <summary>Adds an item that was read.</summary>
    public void Add(WorkItem<TIn, TOut> work) => _all.Add(work);

    public void RemoveAt(int index)
    {
        if (index > 0)
        {
            _all.RemoveAt(_head + index);
            return;
        }

        _all[_head++] = null!;
        if (_head > MostEmpty && _head * 2 > _all.Count)
            DropEmpty();
    }

    public void Remove(WorkItem<TIn, TOut> work)
    {
        bool isRemoved = _all.Remove(work);
        Debug.Assert(isRemoved, "What is removed is there.");
    }

    public void RemoveAll(Predicate<WorkItem<TIn, TOut>> match)
    {
        DropEmpty();
        _all.RemoveAll(match);
    }

    public void Clear()
    {
        _all.Clear();
        _head = 0;
    }

    /// <summary>Puts a turn before all that is not started, but behind what its instance has started.</summary>
    public void InsertCheckpoint(WorkItem<TIn, TOut> turn)
    {
        int next = _all.FindIndex(_head, static w => !w.IsStarted);
        _all.Insert(Math.Max(next < 0 ? _all.Count : next, LastStarted(turn.Instance) + 1), turn);
    }

    /// <summary>
    /// An instance may have started an item while its turn was put before it: the item would wait for the turn, and the turn for the instance.
    /// It stays before what its instance has not started, for the same reason.
    /// </summary>
    public void MoveCheckpointsBehindWhatIsStarted()
    {
        for (int i = _all.Count - 1; i >= _head; i--)
        {
            WorkItem<TIn, TOut> work = _all[i];
            if (!work.IsCheckpoint || work.IsStarted)
                continue;
            int last = LastStarted(work.Instance);
            if (last < i)
                continue;
            _all.Insert(last + 1, work);
            _all.RemoveAt(i);
        }
    }

    /// <summary>The place of the last started one of those that the instance may take, or any instance; negative when there is none.</summary>
    private int LastStarted(int instance)
    {
        for (int i = _all.Count - 1; i >= _head; i--)
        {
            if (_all[i].IsStarted && _all[i].Instance == instance)
                return i;
        }

        return -1;
    }

    private void DropEmpty()
    {
        _all.RemoveRange(0, _head);
        _head = 0;
    }
}
