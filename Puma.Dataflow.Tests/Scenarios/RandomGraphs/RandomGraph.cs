using System.Globalization;
using System.Text;

namespace Puma.Dataflow.Tests.Scenarios.RandomGraphs;

internal enum Interference
{
    Complete,
    Cancel,
    CancelByToken,
    Fault,
    Finish,
    StopSoon,
    StopAtOnce,
    Dispose,
    Snapshot,
}

/// <summary>Something that happens to a run from outside.</summary>
/// <param name="Kind">What.</param>
/// <param name="At">When so many items have been handled; 0 for right after the start.</param>
/// <param name="Stage">Which stage, for those that concern one.</param>
internal sealed record Disturbance(Interference Kind, long At, int Stage);

/// <summary>A graph that depends on its seed only: its shape, its items, what fails, and what happens to it from outside.</summary>
internal sealed class RandomGraph
{
    private const int MostStages = 12;

    private readonly Random _random;
    private readonly bool _hasFaults;
    private int _stagesLeft;
    private int _ids;
    private long _handled;

    public RandomGraph(int seed)
    {
        Seed = seed;
        _random = new Random(seed);
        _stagesLeft = _random.Next(1, MostStages + 1);
        _hasFaults = Chance(60);
        FaultMode = Chance(70) ? FaultMode.DrainDownstream : FaultMode.Abort;
        bool hasEntry = Chance(25);
        Source = NewSource(hasEntry);
        Flow flow = Source.Flow;
        Steps = NewSteps(ref flow, _stagesLeft, new Place(CanDiamond: !hasEntry, CanFanIn: true, IsOptional: false));
        End = NewEnd(flow, isOptional: false, depth: 0);
        Disturbances = [.. Enumerable.Range(0, Chance(45) ? _random.Next(1, 4) : 0).Select(_ => NewDisturbance())];
    }

    public int Seed { get; }

    public FaultMode FaultMode { get; }

    /// <summary>What its links are made of: most are fast, some are the reference.</summary>
    public LinkKind Links => Seed % 4 == 0 ? LinkKind.BufferBlock : LinkKind.Burst;

    public Source Source { get; }

    public IReadOnlyList<Step> Steps { get; }

    public End End { get; }

    public IReadOnlyList<Disturbance> Disturbances { get; }

    public List<Work> Works { get; } = [];

    /// <summary>Whether a stage ends early, so that a failure before it may or may not be reached.</summary>
    public bool HasTake { get; private set; }

    public bool HasFanIn { get; private set; }

    public bool HasForeign { get; private set; }

    public bool HasOptional { get; private set; }

    public Prediction Predict((Work Stage, long Item)? cut = null)
    {
        var prediction = new Prediction(cut);
        End.Apply(prediction.Through(Steps, Source.Flow), prediction);
        return prediction;
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"graph {Seed}, {FaultMode}, {Links}");
        text.AppendLine(Source.ToString());
        Step.DescribeAll(Steps, text, "");
        End.Describe(text, "");
        foreach (Disturbance disturbance in Disturbances)
            text.AppendLine(disturbance.ToString());
        return text.ToString();
    }

    /// <summary>What may stand at a place of the graph.</summary>
    /// <param name="CanDiamond">Whether the chain has no entry, so that it can meet itself.</param>
    /// <param name="CanFanIn">Whether another source may come in.</param>
    /// <param name="IsOptional">Whether it is in an optional branch.</param>
    /// <param name="IsPaired">Whether it must make one output of each item, since another chain waits for it.</param>
    private sealed record Place(bool CanDiamond, bool CanFanIn, bool IsOptional, bool IsPaired = false);

    private bool Chance(int percent) => _random.Next(100) < percent;

    private T Pick<T>(params ReadOnlySpan<T> choices) => choices[_random.Next(choices.Length)];

    private string NewName(string kind) => string.Create(CultureInfo.InvariantCulture, $"{kind}{++_ids}");

    private int NewCapacity(int least = 1) => Math.Max(least, Pick(1, 1, 2, 3, 4, 8, 16, 64));

    private Source NewSource(bool isEntry)
    {
        int count = _random.Next(100) switch
        {
            < 55 => _random.Next(60),
            < 92 => _random.Next(400),
            < 99 => _random.Next(1500),
            _ => 5000,
        };
        string name = NewName("source");
        if (!isEntry)
            return new Source(name, Pick(SourceKind.Enumerable, SourceKind.Enumerable, SourceKind.AsyncEnumerable, SourceKind.Channel, SourceKind.Runnable, SourceKind.Block), _ids, count);
        FullMode mode = Chance(15) ? Pick(FullMode.DropNewest, FullMode.DropOldest) : FullMode.Wait;
        return new Source(name, SourceKind.Entry, _ids, count, Pick(1, 1, 4), mode);
    }

    private List<Step> NewSteps(ref Flow flow, int most, Place place)
    {
        var steps = new List<Step>();
        int count = Math.Min(most, _stagesLeft);
        while (count-- > 0 && _stagesLeft > 0)
        {
            Step step = NewStep(flow, place);
            flow = step.Apply(flow, new Prediction());
            steps.Add(step);
        }

        return steps;
    }

    private Step NewStep(Flow flow, Place place)
    {
        _stagesLeft--;
        int dice = _random.Next(100);
        bool isSmall = flow.Values.Count < 2500;
        switch (dice)
        {
            case < 5 when !place.IsPaired:
                int count = Pick(1, 2, 3, 5, 8);
                return new BatchStep(NewName("batch"), count, NewCapacity(count), Chance(30));
            case < 9:
                HasTake = true;
                return new TakeStep(_random.Next(flow.Values.Count + 5));
            case < 17 when !place.IsPaired:
                return new RouteStep(NewName("route"), NewCapacity(), NewRouteBranches(flow, place));
            case < 24 when place.CanDiamond && !place.IsPaired && isSmall:
                return NewDiamond(flow, place);
            case < 31 when place.CanFanIn && !place.IsPaired && isSmall:
                return NewFanIn(flow, place);
            case < 34:
                HasForeign = true;
                return new WorkStep(NewWork(WorkKind.Foreign, flow, place));
            case < 37:
                Flow inner = flow;
                List<Step> steps = NewSteps(ref inner, 2, place with { CanDiamond = false });
                return steps.Count > 0 ? new PartStep(steps) : new WorkStep(NewWork(WorkKind.Transform, flow, place));
            default:
                WorkKind kind = place.IsPaired || !isSmall
                    ? Pick(WorkKind.Transform, WorkKind.Tap, WorkKind.Partition)
                    : Pick(WorkKind.Transform, WorkKind.Transform, WorkKind.Transform, WorkKind.Tap, WorkKind.Where, WorkKind.Many, WorkKind.AsyncMany, WorkKind.Runnable, WorkKind.Partition);
                return new WorkStep(NewWork(kind, flow, place));
        }
    }

    private List<Branch> NewRouteBranches(Flow flow, Place place)
    {
        int count = _random.Next(2, 4);
        int open = _random.Next(count);
        var branches = new List<Branch>();
        for (int i = 0; i < count; i++)
        {
            int index = i;
            Flow mine = flow.Keep(x => Mixing.Small(x, count) == index);
            bool ends = i != open && Chance(40);
            branches.Add(ends
                ? NewBranch(mine, place.IsOptional, depth: 1)
                : new Branch { Steps = NewSteps(ref mine, 2, new Place(false, place.CanFanIn, place.IsOptional)) });
        }

        return branches;
    }

    private DiamondStep NewDiamond(Flow flow, Place place)
    {
        HasFanIn = true;
        bool isJoin = Chance(50);
        Work work = NewWork(WorkKind.Port, flow, place with { IsPaired = isJoin });
        (Flow a, Flow b) = Splitting.Apply(work, flow, new Prediction());
        Place side = place with { IsPaired = isJoin };
        List<Step> sideA = NewSteps(ref a, 2, side), sideB = NewSteps(ref b, 2, side);
        return new DiamondStep(work, sideA, sideB, isJoin, NewName("join"), NewCapacity());
    }

    private FanInStep NewFanIn(Flow flow, Place place)
    {
        HasFanIn = true;
        Source second = NewSource(isEntry: false);
        Flow other = second.Flow;
        List<Step> steps = NewSteps(ref other, 3, place with { CanDiamond = true });
        Fan fan = Pick(Fan.Merge, Fan.Join, Fan.Ports);
        Work work = fan == Fan.Ports ? NewWork(WorkKind.Port, Flow.Merge(flow, other), place) : new Work { Name = NewName("fan-in"), Id = _ids, Kind = WorkKind.Port, Capacity = NewCapacity() };
        return new FanInStep(fan, work, second, steps);
    }

    private Work NewWork(WorkKind kind, Flow flow, Place place)
    {
        bool canBePool = kind is not WorkKind.Port;
        int parallelism = canBePool && Chance(40) ? _random.Next(2, 9) : 1;
        string name = NewName(kind.ToString().ToLowerInvariant());
        var work = new Work
        {
            Name = name,
            Id = _ids,
            Kind = kind,
            Parallelism = parallelism,
            Capacity = NewCapacity(parallelism),
            IsOrdered = kind == WorkKind.Foreign || Chance(70),
            Pace = Pick(Pace.Sync, Pace.Sync, Pace.Yields, Pace.SometimesYields),
            OwnThread = kind != WorkKind.Foreign && Chance(4),
            IsOptional = place.IsOptional,
            // A TPL block takes any cancellation for a wish to leave the item out.
            ThrowsCancellation = Chance(15) && kind != WorkKind.Foreign,
        };
        Works.Add(work);
        _handled += flow.Values.Count;
        AddFaults(work, flow, place.IsPaired);
        return work;
    }

    private void AddFaults(Work work, Flow flow, bool isPaired)
    {
        if (!_hasFaults || flow.Values.Count == 0 || !Chance(35))
            return;
        bool canAbsorb = work.Kind is not WorkKind.Foreign;
        bool isFatal = !canAbsorb || Chance(45);
        if (canAbsorb && work.Kind is not WorkKind.AsyncMany && Chance(40))
            work.Retries = _random.Next(1, 4);
        bool onlyTransient = isPaired && !isFatal;
        if (!isFatal && !isPaired)
        {
            work.DeadLetters = Chance(50);
            work.Verdict = ErrorPolicy.Skip;
        }

        if (onlyTransient)
            work.Retries = Math.Max(work.Retries, 1);

        // A TPL block with several tasks passes on what comes after the item that failed.
        if (work.Kind == WorkKind.Foreign)
            work.Parallelism = 1;
        int bad = isFatal ? _random.Next(1, 3) : _random.Next(1, 1 + Math.Max(1, flow.Values.Count / 8));
        for (int i = 0; i < bad; i++)
        {
            bool isTransient = onlyTransient || (work.Retries > 0 && Chance(40));
            int after = isPaired ? 0 : _random.Next(2);
            work.Bad.TryAdd(flow.Values[_random.Next(flow.Values.Count)], (isTransient ? _random.Next(1, work.Retries + 1) : int.MaxValue, after));
        }
    }

    private Branch NewBranch(Flow flow, bool isOptional, int depth)
    {
        bool starts = !isOptional && Chance(25);
        isOptional |= starts;
        HasOptional |= isOptional;
        FullMode mode = Chance(15) ? Pick(FullMode.DropNewest, FullMode.DropOldest, isOptional ? FullMode.Fail : FullMode.DropNewest) : FullMode.Wait;
        Flow mine = mode is FullMode.Wait or FullMode.Fail ? flow : flow.Dropping();
        List<Step> steps = NewSteps(ref mine, _random.Next(3), new Place(false, true, isOptional));
        return new Branch { IsOptional = starts, FullMode = mode, Capacity = Pick(8, 16, 64), Steps = steps, End = NewEnd(mine, isOptional, depth) };
    }

    private End NewEnd(Flow flow, bool isOptional, int depth)
    {
        int dice = _random.Next(100);
        if (depth < 2 && _stagesLeft >= 2 && dice < 50 && flow.Values.Count < 2500)
        {
            _stagesLeft -= 2;
            if (dice < 30)
            {
                string name = NewName("broadcast");
                return new BroadcastEnd(name, NewCapacity(), [.. Enumerable.Range(0, _random.Next(1, 4)).Select(_ => NewBranch(flow, isOptional, depth + 1))]);
            }

            if (dice < 42)
            {
                int count = _random.Next(1, 4);
                string name = NewName("route");
                return new RouteEnd(name, NewCapacity(), [.. Enumerable.Range(0, count).Select(i => NewBranch(flow.Keep(x => Mixing.Small(x, count) == i), isOptional, depth + 1))]);
            }

            Work work = NewWork(WorkKind.Port, flow, new Place(false, false, isOptional));
            (Flow a, Flow b) = Splitting.Apply(work, flow, new Prediction());
            return new PortEnd(work, NewPortBranch(a, isOptional, depth), NewPortBranch(b, isOptional, depth));
        }

        _stagesLeft--;
        SinkKind kind = Pick(SinkKind.ForEach, SinkKind.ForEach, SinkKind.Runnable, SinkKind.Block, SinkKind.Channel);
        HasForeign |= kind is SinkKind.Block;

        // A foreign sink has no policy, and only a block runs code of ours.
        Work sink = kind switch
        {
            SinkKind.ForEach or SinkKind.Runnable => NewWork(WorkKind.Sink, flow, new Place(false, false, isOptional)),
            _ => new Work { Name = NewName("to"), Id = _ids, Kind = WorkKind.Sink, Capacity = NewCapacity(), IsOptional = isOptional, Pace = Pick(Pace.Sync, Pace.SometimesYields) },
        };
        return new Sink(sink, kind);
    }

    private Branch NewPortBranch(Flow flow, bool isOptional, int depth)
    {
        bool starts = !isOptional && Chance(25);
        HasOptional |= starts;
        List<Step> steps = NewSteps(ref flow, _random.Next(3), new Place(false, true, isOptional || starts));
        return new Branch { IsOptional = starts, Steps = steps, End = NewEnd(flow, isOptional || starts, depth + 1) };
    }

    private Disturbance NewDisturbance() => new(
        Pick(Interference.Complete, Interference.Cancel, Interference.CancelByToken, Interference.Fault, Interference.Finish, Interference.Finish, Interference.StopSoon, Interference.StopAtOnce, Interference.Dispose, Interference.Snapshot),
        Chance(10) ? 0 : 1 + (long)(_random.NextDouble() * _random.NextDouble() * _handled),
        _random.Next(1000));
}
