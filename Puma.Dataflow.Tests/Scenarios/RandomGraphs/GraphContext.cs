using System.Collections.Concurrent;
using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow.Tests.Scenarios.RandomGraphs;

/// <summary>What all stages of one run of a graph share.</summary>
internal sealed class GraphContext
{
    private static readonly ConcurrentDictionary<int, GraphContext> Live = [];
    private static int _lastId;

    private readonly List<(long At, Action Act)> _events = [];
    private long _handled;

    public GraphContext() => DeadLetterBlock = new ActionBlock<DeadLetter>(DeadLetters.Enqueue, new ExecutionDataflowBlockOptions { BoundedCapacity = 3 });

    /// <summary>By which code that is made from a value finds what it shares; in another process it shares nothing.</summary>
    public int Id { get; } = Interlocked.Increment(ref _lastId);

    public static GraphContext Find(int id) => Live.TryGetValue(id, out GraphContext? context) ? context : new GraphContext();

    /// <summary>Makes it known under its id as long as the run lasts.</summary>
    public IDisposable Publish()
    {
        Live[Id] = this;
        return new Withdrawal(Id);
    }

    public ConcurrentQueue<DeadLetter> DeadLetters { get; } = [];

    public ITargetBlock<DeadLetter> DeadLetterBlock { get; }

    /// <summary>Where a stage runs: the one place that decides it.</summary>
    public Func<Work, Placement> PickPlacement { get; init; } = static _ => Placement.InProcess;

    /// <summary>Lets something happen, on another thread, when so many items have been handled by all stages together. Before the run starts.</summary>
    public void At(long handled, Action act) => _events.Add((handled, act));

    /// <summary>Counts an item that is handled.</summary>
    public void Advance()
    {
        long handled = Interlocked.Increment(ref _handled);
        foreach ((long at, Action act) in _events)
        {
            if (at == handled)
                ThreadPool.UnsafeQueueUserWorkItem(static a => a(), act, preferLocal: false);
        }
    }

    private sealed class Withdrawal(int id) : IDisposable
    {
        public void Dispose() => Live.TryRemove(id, out _);
    }
}
