using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow.Tests.Scenarios.RandomGraphs;

internal enum WorkKind
{
    Transform,
    Tap,
    Where,
    Many,
    AsyncMany,
    Runnable,
    Partition,
    Port,
    Foreign,
    Sink,
}

internal enum Pace
{
    Sync,
    Yields,
    SometimesYields,
}

/// <summary>An exception that a graph throws on purpose.</summary>
internal sealed class InjectedException(string message) : Exception(message);

/// <summary>A cancellation of somebody else's token, which is a failure like all others.</summary>
internal sealed class InjectedCancellation(string message) : OperationCanceledException(message);

/// <summary>What the code of a stage is made from, as a value that can travel.</summary>
internal sealed record WorkCode(int Graph, string Name, int Id, WorkKind Kind, Pace Pace, bool ThrowsCancellation, Dictionary<long, (int Times, int After)> Bad);

/// <summary>The user code of one stage of a graph: what it makes of an item, when it fails, and how it is run.</summary>
internal sealed class Work
{
    private readonly ConcurrentDictionary<long, int> _attempts = [];

    public required string Name { get; init; }

    public required int Id { get; init; }

    public required WorkKind Kind { get; init; }

    public int Capacity { get; init; } = 16;

    public int Parallelism { get; set; } = 1;

    public bool IsOrdered { get; init; } = true;

    public Pace Pace { get; init; }

    public bool OwnThread { get; init; }

    public int Retries { get; set; }

    public ErrorPolicy Verdict { get; set; } = ErrorPolicy.Fault;

    public bool DeadLetters { get; set; }

    /// <summary>Whether its failure takes only its branch away.</summary>
    public bool IsOptional { get; init; }

    /// <summary>How often an item fails, and after how many of its outputs.</summary>
    public Dictionary<long, (int Times, int After)> Bad { get; } = [];

    public bool ThrowsCancellation { get; init; }

    public bool KeepsOrder => Parallelism == 1 || IsOrdered;

    private bool MakesSeveral => Kind is WorkKind.Many or WorkKind.AsyncMany or WorkKind.Runnable;

    public IEnumerable<long> FatalItems => DeadLetters || Verdict == ErrorPolicy.Skip ? [] : Bad.Where(b => b.Value.Times > Retries).Select(static b => b.Key);

    /// <summary>What the stage makes of an item that does not fail.</summary>
    public IEnumerable<long> OutputsOf(long item) => Kind switch
    {
        WorkKind.Tap => [item],
        WorkKind.Sink => [item],
        WorkKind.Where => Mixing.Small(item, 3) > 0 ? [item] : [],
        WorkKind.Many or WorkKind.AsyncMany or WorkKind.Runnable => Enumerable.Range(0, Mixing.Small(item, 4)).Select(i => Mixing.Mix(item, (Id * 8) + i)),
        _ => [Mixing.Mix(item, Id * 8)],
    };

    /// <summary>What leaves the stage, and how many items are dead-lettered.</summary>
    public Flow Apply(Flow input, (Work Stage, long Item)? cut)
    {
        bool isCut = cut?.Stage == this;
        var outputs = new List<long>();
        bool keepsCount = Kind != WorkKind.Where && !MakesSeveral;
        foreach (long item in input.Values)
        {
            if (isCut && cut!.Value.Item == item)
                break;
            outputs.AddRange(Left(item));
        }

        keepsCount &= Bad.Count == 0;
        return input with
        {
            Values = outputs,
            IsOrdered = input.IsOrdered && KeepsOrder,
            Count = input.Knowledge == Knowledge.Exact ? outputs.Count : keepsCount ? input.Count : null,
            IsBehindCut = input.IsBehindCut || isCut,
        };
    }

    private IEnumerable<long> Left(long item)
    {
        if (!Bad.TryGetValue(item, out (int Times, int After) bad) || bad.Times <= Retries || FatalItems.Contains(item))
            return OutputsOf(item);

        // With a retry nothing leaves before an attempt succeeded, and what makes one output fails before it.
        return Retries == 0 && MakesSeveral ? OutputsOf(item).Take(bad.After) : [];
    }

    /// <summary>What of it matters to the code that handles the items.</summary>
    public WorkCode Code(GraphContext graph) => new(graph.Id, Name, Id, Kind, Pace, ThrowsCancellation, Bad);

    public static Work Of(WorkCode code)
    {
        var work = new Work { Name = code.Name, Id = code.Id, Kind = code.Kind, Pace = code.Pace, ThrowsCancellation = code.ThrowsCancellation };
        foreach ((long item, (int Times, int After) bad) in code.Bad)
            work.Bad.Add(item, bad);
        return work;
    }

    public StageOptions Options(GraphContext graph) => new()
    {
        Name = Name,
        BoundedCapacity = Capacity,
        MaxDegreeOfParallelism = Parallelism,
        EnsureOrdered = IsOrdered,
        OwnThread = OwnThread,
        ErrorPolicy = Policy(graph),
        Placement = Kind is WorkKind.Sink or WorkKind.Foreign ? Placement.InProcess : graph.PickPlacement(this),
    };

    private ErrorPolicy Policy(GraphContext graph)
    {
        ErrorPolicy verdict = !DeadLetters ? Verdict
            : Kind == WorkKind.Port || Id % 2 == 0 ? ErrorPolicy.DeadLetter(graph.DeadLetterBlock)
            : ErrorPolicy.DeadLetter<long>(async (letter, _) =>
            {
                await Task.Yield();
                graph.DeadLetters.Enqueue(letter);
            });
        return Retries == 0 ? verdict : ErrorPolicy.Retry(Retries, Id % 3 == 0 ? Backoff.Constant(TimeSpan.FromMilliseconds(1)) : null).Then(verdict);
    }

    /// <summary>Begins an attempt at an item.</summary>
    /// <returns>After how many outputs it is to fail; -1 when it is not.</returns>
    public int Begin(GraphContext graph, long item)
    {
        graph.Advance();
        if (!Bad.TryGetValue(item, out (int Times, int After) bad))
            return -1;
        int attempt = _attempts.AddOrUpdate(item, 1, static (_, n) => n + 1);
        return attempt <= bad.Times ? bad.After : -1;
    }

    public Exception Failure(long item) =>
        ThrowsCancellation ? new InjectedCancellation($"{Name} cannot take {item}") : new InjectedException($"{Name} cannot take {item}");

    private bool YieldsAt(long item) => Pace == Pace.Yields || (Pace == Pace.SometimesYields && Mixing.Small(item, 5) == 0);

    /// <summary>The one result for an item.</summary>
    public long Handle(GraphContext graph, long item) => Begin(graph, item) >= 0 ? throw Failure(item) : OutputsOf(item).FirstOrDefault(item);

    public async ValueTask<long> HandleAsync(GraphContext graph, long item)
    {
        if (YieldsAt(item))
            await Task.Yield();
        return Handle(graph, item);
    }

    public bool Keeps(GraphContext graph, long item) => Begin(graph, item) >= 0 ? throw Failure(item) : OutputsOf(item).Any();

    public async ValueTask<bool> KeepsAsync(GraphContext graph, long item)
    {
        if (YieldsAt(item))
            await Task.Yield();
        return Keeps(graph, item);
    }

    public IEnumerable<long> HandleMany(GraphContext graph, long item)
    {
        int failAfter = Begin(graph, item);
        int made = 0;
        foreach (long output in OutputsOf(item))
        {
            if (made++ == failAfter)
                throw Failure(item);
            yield return output;
        }

        if (failAfter >= 0)
            throw Failure(item);
    }

    public async IAsyncEnumerable<long> HandleManyAsync(GraphContext graph, long item, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        foreach (long output in HandleMany(graph, item))
        {
            if (YieldsAt(output))
                await Task.Yield();
            yield return output;
        }
    }

    public PipelineBuilder<TIn, long> Build<TIn>(PipelineBuilder<TIn, long> b, GraphContext g)
    {
        StageOptions o = Options(g);
        if (o.Placement is not InProcessPlacement && Kind == WorkKind.Partition)
            return b.PartitionBy(static x => x % 5).Then(static code => new Carried(code), Code(g), o);
        if (o.Placement is not InProcessPlacement && Kind != WorkKind.Foreign)
            return b.Then(static code => new Carried(code), Code(g), o);
        bool isSync = Pace == Pace.Sync;
        return Kind switch
        {
            WorkKind.Transform => isSync ? b.Transform(x => Handle(g, x), o) : b.Transform((x, _) => HandleAsync(g, x), o),
            WorkKind.Tap => isSync ? b.Tap(x => { _ = Handle(g, x); }, o) : b.Tap(async (x, token) => { _ = await HandleAsync(g, x); }, o),
            WorkKind.Where => isSync ? b.Where(x => Keeps(g, x), o) : b.Where((x, _) => KeepsAsync(g, x), o),
            WorkKind.Many => b.TransformMany(x => HandleMany(g, x), o),
            WorkKind.AsyncMany => b.TransformMany((x, token) => HandleManyAsync(g, x, token), o),
            WorkKind.Runnable => b.Then(() => new ManyRunnable(this, g), o),
            WorkKind.Partition => b.PartitionBy(static x => x % 5).Then(() => new OneRunnable(this, g), o),
            WorkKind.Foreign => b.Through(() => new TransformBlock<long, long>(x => Handle(g, x), new ExecutionDataflowBlockOptions { BoundedCapacity = Capacity, MaxDegreeOfParallelism = Math.Min(Parallelism, Capacity) }), new() { Name = Name, BoundedCapacity = Capacity }),
            _ => throw new InvalidOperationException(Kind.ToString()),
        };
    }

    public override string ToString()
    {
        string policy = DeadLetters ? "DeadLetter" : Verdict == ErrorPolicy.Skip ? "Skip" : "Fault";
        string text = $"{Name}(cap {Capacity}, {Pace}";
        if (Parallelism > 1)
            text += $", x{Parallelism}{(IsOrdered ? "" : " unordered")}";
        if (OwnThread)
            text += ", own thread";
        if (Bad.Count > 0)
            text += $", {Bad.Count} bad items{(ThrowsCancellation ? " (cancellations)" : "")}, {(Retries > 0 ? $"Retry({Retries}) then " : "")}{policy}";
        return text + ")";
    }

    /// <summary>Any work as a runnable that is made from a value, wherever it runs.</summary>
    private sealed class Carried(WorkCode code) : Runnable<long, long>
    {
        private readonly Work _work = Of(code);
        private readonly GraphContext _graph = GraphContext.Find(code.Graph);

        protected override async ValueTask OnItemAsync(long item, CancellationToken cancellationToken)
        {
            switch (_work.Kind)
            {
                case WorkKind.Where:
                    if (await _work.KeepsAsync(_graph, item))
                        await EmitAsync(item, cancellationToken);
                    break;
                case WorkKind.Many or WorkKind.AsyncMany or WorkKind.Runnable:
                    await foreach (long output in _work.HandleManyAsync(_graph, item, cancellationToken))
                        await EmitAsync(output, cancellationToken);
                    break;
                default:
                    await EmitAsync(await _work.HandleAsync(_graph, item), cancellationToken);
                    break;
            }
        }
    }

    private sealed class ManyRunnable(Work work, GraphContext graph) : Runnable<long, long>
    {
        protected override async ValueTask OnItemAsync(long item, CancellationToken cancellationToken)
        {
            foreach (long output in work.HandleMany(graph, item))
                await EmitAsync(output, cancellationToken);
        }
    }

    private sealed class OneRunnable(Work work, GraphContext graph) : Runnable<long, long>
    {
        protected override async ValueTask OnItemAsync(long item, CancellationToken cancellationToken) =>
            await EmitAsync(await work.HandleAsync(graph, item), cancellationToken);
    }
}

/// <summary>Takes items, leads each to both outputs.</summary>
internal sealed class Splitter : PortRunnable
{
    public Splitter(WorkCode code)
        : this(Work.Of(code), GraphContext.Find(code.Graph))
    {
    }

    public Splitter(Work work, GraphContext graph) => In = new Input<long>(async (item, token) =>
    {
        int failAfter = work.Begin(graph, item);
        if (failAfter == 0)
            throw work.Failure(item);
        await A.EmitAsync(Mixing.Mix(item, work.Id * 8), token);
        if (failAfter > 0)
            throw work.Failure(item);
        await B.EmitAsync(Mixing.Mix(item, (work.Id * 8) + 1), token);
    });

    public Input<long> In { get; }

    public Output<long> A { get; } = new();

    public Output<long> B { get; } = new();
}

/// <summary>Takes items of two inputs in turn.</summary>
internal sealed class Gatherer : PortRunnable
{
    public Gatherer(WorkCode code)
        : this(Work.Of(code), GraphContext.Find(code.Graph))
    {
    }

    public Gatherer(Work work, GraphContext graph)
    {
        First = new Input<long>(async (item, token) => await Out.EmitAsync(await work.HandleAsync(graph, item), token));
        Second = new Input<long>(async (item, token) => await Out.EmitAsync(await work.HandleAsync(graph, item), token));
    }

    public Input<long> First { get; }

    public Input<long> Second { get; }

    public Output<long> Out { get; } = new();
}
