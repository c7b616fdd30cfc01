using System.Collections.Concurrent;
using System.Text;
using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow.Tests.Scenarios.RandomGraphs;

/// <summary>Computes what a graph would do: the flow into each sink, perhaps with one stage cut off at an item.</summary>
internal sealed class Prediction((Work Stage, long Item)? cut = null)
{
    public (Work Stage, long Item)? Cut => cut;

    public Dictionary<Sink, Flow> Sinks { get; } = [];

    public Flow Through(IEnumerable<Step> steps, Flow flow) => steps.Aggregate(flow, (f, step) => step.Apply(f, this));
}

/// <summary>A part of a graph that leads from items to items.</summary>
internal abstract class Step
{
    public abstract Flow Apply(Flow input, Prediction prediction);

    public abstract PipelineBuilder<TIn, long> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph);

    public abstract void Describe(StringBuilder text, string indent);

    public static PipelineBuilder<TIn, long> BuildAll<TIn>(IEnumerable<Step> steps, PipelineBuilder<TIn, long> builder, GraphContext graph) =>
        steps.Aggregate(builder, (b, step) => step.Build(b, graph));

    public static void DescribeAll(IEnumerable<Step> steps, StringBuilder text, string indent)
    {
        foreach (Step step in steps)
            step.Describe(text, indent);
    }
}

internal sealed class WorkStep(Work work) : Step
{
    public override Flow Apply(Flow input, Prediction prediction) => work.Apply(input, prediction.Cut);

    public override PipelineBuilder<TIn, long> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph) => work.Build(builder, graph);

    public override void Describe(StringBuilder text, string indent) => text.Append(indent).AppendLine(work.ToString());
}

/// <summary>Gathers items and takes them apart again.</summary>
internal sealed class BatchStep(string name, int count, int capacity, bool isWeighted) : Step
{
    public override Flow Apply(Flow input, Prediction prediction) => input;

    public override PipelineBuilder<TIn, long> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph) => builder
        .Batch(count, weight: isWeighted ? static x => Mixing.Small(x, 4) : null, options: new() { Name = name, BoundedCapacity = capacity })
        .TransformMany(static batch => batch, new() { Name = name + "-apart", BoundedCapacity = 2 });

    public override void Describe(StringBuilder text, string indent) => text.Append(indent).AppendLine($"{name}({count}{(isWeighted ? " by weight" : "")}, cap {capacity}), taken apart again");
}

internal sealed class TakeStep(int count) : Step
{
    public override Flow Apply(Flow input, Prediction prediction) => input.Take(count);

    public override PipelineBuilder<TIn, long> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph) => builder.Take(count);

    public override void Describe(StringBuilder text, string indent) => text.Append(indent).AppendLine($"take({count})");
}

/// <summary>Steps that are written as a pipeline of their own and inserted.</summary>
internal sealed class PartStep(IReadOnlyList<Step> steps) : Step
{
    public override Flow Apply(Flow input, Prediction prediction) => prediction.Through(steps, input);

    public override PipelineBuilder<TIn, long> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph) =>
        builder.Through(BuildAll(steps, Pipeline.Accept<long>(), graph).AsPart());

    public override void Describe(StringBuilder text, string indent)
    {
        text.Append(indent).AppendLine("part");
        DescribeAll(steps, text, indent + "  ");
    }
}

/// <summary>A route whose branches merge again, or end.</summary>
internal sealed class RouteStep(string name, int capacity, IReadOnlyList<Branch> branches) : Step
{
    public override Flow Apply(Flow input, Prediction prediction)
    {
        var open = new List<Flow>();
        for (int i = 0; i < branches.Count; i++)
        {
            Flow flow = branches[i].Apply(input.Keep(x => Mixing.Small(x, branches.Count) == i), prediction);
            if (branches[i].End is null)
                open.Add(flow);
        }

        return Flow.Merge(open);
    }

    public override PipelineBuilder<TIn, long> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph)
    {
        RouteBuilder<TIn, long> plain = builder.Route(new() { Name = name, BoundedCapacity = capacity });
        RouteBuilder<TIn, long, long>? merged = null;
        for (int i = 0; i < branches.Count - 1; i++)
        {
            int index = i;
            bool IsMine(long x) => Mixing.Small(x, branches.Count) == index;
            if (branches[i].End is not null)
            {
                if (merged is null)
                    plain.When(IsMine, b => branches[index].BuildEnd(b, graph));
                else
                    merged.When(IsMine, b => branches[index].BuildEnd(b, graph));
            }
            else if (merged is null)
            {
                merged = plain.When(IsMine, b => branches[index].BuildOpen(b, graph));
            }
            else
            {
                merged.When(IsMine, b => branches[index].BuildOpen(b, graph));
            }
        }

        Branch last = branches[^1];
        if (merged is null)
            return plain.Otherwise(b => last.BuildOpen(b, graph));
        return last.End is null ? merged.Otherwise(b => last.BuildOpen(b, graph)) : merged.Otherwise(b => last.BuildEnd(b, graph));
    }

    public override void Describe(StringBuilder text, string indent)
    {
        text.Append(indent).AppendLine($"{name}(cap {capacity}), merged");
        foreach (Branch branch in branches)
            branch.Describe(text, indent);
    }
}

/// <summary>Splits into two sides that meet again.</summary>
internal sealed class DiamondStep(Work work, IReadOnlyList<Step> sideA, IReadOnlyList<Step> sideB, bool isJoin, string joinName, int joinCapacity) : Step
{
    public override Flow Apply(Flow input, Prediction prediction)
    {
        (Flow a, Flow b) = Splitting.Apply(work, input, prediction);
        (a, b) = (prediction.Through(sideA, a), prediction.Through(sideB, b));
        return isJoin ? Flow.Join(a, b) : Flow.Merge(a, b);
    }

    public override PipelineBuilder<TIn, long> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph)
    {
        // Only chains without an entry or branch can be joined with themselves.
        var source = (PipelineBuilder<NoInput, long>)(object)builder;
        PortBuilder<NoInput, Splitter> ports = source.Into(static code => new Splitter(code), work.Code(graph), static r => r.In, work.Options(graph));
        PipelineBuilder<NoInput, long> a = BuildAll(sideA, ports.Continue(static r => r.A), graph);
        PipelineBuilder<NoInput, long> b = BuildAll(sideB, ports.Continue(static r => r.B), graph);
        PipelineBuilder<NoInput, long> end = isJoin
            ? Pipeline.Join(a, b, new() { Name = joinName, BoundedCapacity = joinCapacity }).Transform(static p => Mixing.Pair(p.First, p.Second), new() { Name = joinName + "-pair", BoundedCapacity = joinCapacity })
            : Pipeline.Merge(a, b);
        return (PipelineBuilder<TIn, long>)(object)end;
    }

    public override void Describe(StringBuilder text, string indent)
    {
        text.Append(indent).AppendLine($"diamond of {work}, {(isJoin ? $"joined in {joinName}(cap {joinCapacity})" : "merged")}");
        text.Append(indent).AppendLine("- A");
        DescribeAll(sideA, text, indent + "  ");
        text.Append(indent).AppendLine("- B");
        DescribeAll(sideB, text, indent + "  ");
    }
}

internal enum Fan
{
    Merge,
    Join,
    Ports,
}

/// <summary>Brings a second source in.</summary>
internal sealed class FanInStep(Fan fan, Work work, Source second, IReadOnlyList<Step> steps) : Step
{
    public override Flow Apply(Flow input, Prediction prediction)
    {
        Flow other = prediction.Through(steps, second.Flow);
        return fan switch
        {
            Fan.Join => Flow.Join(input, other),
            Fan.Merge => Flow.Merge(input, other),
            _ => work.Apply(Flow.Merge(input, other), prediction.Cut),
        };
    }

    public override PipelineBuilder<TIn, long> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph)
    {
        PipelineBuilder<NoInput, long> other = BuildAll(steps, second.Build(), graph);
        return fan switch
        {
            Fan.Merge => builder.Merge(other),
            Fan.Join => Pipeline.Join(builder, other, new() { Name = work.Name, BoundedCapacity = work.Capacity }).Transform(static p => Mixing.Pair(p.First, p.Second), new() { Name = work.Name + "-pair", BoundedCapacity = work.Capacity }),
            _ => builder.Into(static code => new Gatherer(code), work.Code(graph), static r => r.First, work.Options(graph)).From(static r => r.Second, other).Continue(static r => r.Out),
        };
    }

    public override void Describe(StringBuilder text, string indent)
    {
        text.Append(indent).AppendLine($"{fan} {work} with");
        text.Append(indent).AppendLine($"  {second}");
        DescribeAll(steps, text, indent + "  ");
    }
}

/// <summary>The two outputs of a splitter.</summary>
internal static class Splitting
{
    public static (Flow A, Flow B) Apply(Work work, Flow input, Prediction prediction)
    {
        bool isCut = prediction.Cut?.Stage == work;
        IEnumerable<long> items = isCut ? input.Values.TakeWhile(x => x != prediction.Cut!.Value.Item) : input.Values;
        List<long> a = [], b = [];
        foreach (long item in items)
        {
            bool isLost = work.Bad.TryGetValue(item, out (int Times, int After) bad) && bad.Times > work.Retries && !work.FatalItems.Contains(item);
            if (!isLost || (bad.After > 0 && work.Retries == 0))
                a.Add(Mixing.Mix(item, work.Id * 8));
            if (!isLost)
                b.Add(Mixing.Mix(item, (work.Id * 8) + 1));
        }

        return (Side(a), Side(b));

        Flow Side(List<long> values) => input with
        {
            Values = values,
            Count = input.Knowledge == Knowledge.Exact ? values.Count : work.Bad.Count == 0 ? input.Count : null,
            IsBehindCut = input.IsBehindCut || isCut,
        };
    }
}

internal enum SourceKind
{
    Enumerable,
    AsyncEnumerable,
    Channel,
    Runnable,
    Block,
    Entry,
}

/// <summary>Where items come from. Made for one run.</summary>
internal sealed class Source(string name, SourceKind kind, int id, int count, int senders = 1, FullMode fullMode = FullMode.Wait)
{
    public SourceKind Kind => kind;

    public int Senders => senders;

    public IReadOnlyList<long> Values { get; } = [.. Enumerable.Range(0, count).Select(i => Mixing.Mix(i, 1_000_003L * id))];

    public Flow Flow => fullMode == FullMode.Wait ? Flow.Of(Values, senders == 1) : Flow.Of(Values, senders == 1).Dropping();

    public PipelineBuilder<NoInput, long> Build()
    {
        StageOptions o = new() { Name = name };
        switch (kind)
        {
            case SourceKind.Enumerable:
                return Pipeline.From(Values, o);
            case SourceKind.AsyncEnumerable:
                return Pipeline.From(EnumerateAsync(), o);
            case SourceKind.Channel:
                var channel = Channel.CreateUnbounded<long>();
                foreach (long value in Values)
                    channel.Writer.TryWrite(value);
                channel.Writer.Complete();
                return Pipeline.From(channel.Reader, o);
            case SourceKind.Block:
                var block = new BufferBlock<long>();
                foreach (long value in Values)
                    block.Post(value);
                block.Complete();
                return Pipeline.From(block, o);
            default:
                return Pipeline.From(() => new Emitting(Values), o);
        }
    }

    public PipelineBuilder<long, long> BuildEntry() =>
        Pipeline.Accept<long>(new() { Name = name, FullMode = fullMode, CompleteWithLastSender = true });

    public override string ToString() => $"{name}({kind}, {Values.Count} items{(senders > 1 ? $", {senders} senders" : "")}{(fullMode == FullMode.Wait ? "" : $", {fullMode}")})";

    private async IAsyncEnumerable<long> EnumerateAsync()
    {
        foreach (long value in Values)
        {
            if (Mixing.Small(value, 7) == 0)
                await Task.Yield();
            yield return value;
        }
    }

    private sealed class Emitting(IReadOnlyList<long> values) : SourceRunnable<long>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            foreach (long value in values)
            {
                if (stopToken.IsCancellationRequested)
                    return;
                await EmitAsync(value, stopToken);
            }
        }
    }
}

/// <summary>A branch: steps, and an end unless it merges again.</summary>
internal sealed class Branch
{
    public bool IsOptional { get; init; }

    public FullMode FullMode { get; init; } = FullMode.Wait;

    public int? Capacity { get; init; }

    public required IReadOnlyList<Step> Steps { get; init; }

    public End? End { get; init; }

    public Flow Apply(Flow input, Prediction prediction)
    {
        Flow flow = prediction.Through(Steps, FullMode is FullMode.Wait or FullMode.Fail ? input : input.Dropping());
        End?.Apply(flow, prediction);
        return flow;
    }

    public PipelineEnd<BranchInput> BuildEnd(BranchBuilder<long> builder, GraphContext graph) => End!.Build(BuildOpen(builder, graph), graph);

    public PipelineBuilder<BranchInput, long> BuildOpen(BranchBuilder<long> builder, GraphContext graph)
    {
        if (IsOptional)
            builder.Optional();
        if (FullMode != FullMode.Wait)
            builder.WhenFull(FullMode, Capacity);
        return Step.BuildAll(Steps, builder, graph);
    }

    public void Describe(StringBuilder text, string indent)
    {
        text.Append(indent).AppendLine($"- branch{(IsOptional ? ", optional" : "")}{(FullMode == FullMode.Wait ? "" : $", {FullMode} (cap {Capacity})")}{(End is null ? ", merges again" : "")}");
        Step.DescribeAll(Steps, text, indent + "  ");
        End?.Describe(text, indent + "  ");
    }
}

/// <summary>Where items go to in the end.</summary>
internal abstract class End
{
    public abstract void Apply(Flow input, Prediction prediction);

    public abstract PipelineEnd<TIn> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph);

    public abstract void Describe(StringBuilder text, string indent);
}

internal enum SinkKind
{
    ForEach,
    Runnable,
    Block,
    Channel,
}

/// <summary>Keeps what arrives.</summary>
internal sealed class Sink(Work work, SinkKind kind) : End
{
    private readonly ConcurrentQueue<long> _arrived = [];
    private readonly Channel<long> _channel = Channel.CreateBounded<long>(5000 * 8);

    public Work Work => work;

    /// <summary>Whether it is a foreign block, which loses what it holds when it is faulted.</summary>
    public bool IsForeign => kind is SinkKind.Block;

    public IReadOnlyList<long> TakeArrived()
    {
        while (_channel.Reader.TryRead(out long item))
            _arrived.Enqueue(item);
        return [.. _arrived];
    }

    public override void Apply(Flow input, Prediction prediction) => prediction.Sinks.Add(this, work.Apply(input, prediction.Cut) with { IsOrdered = input.IsOrdered && work.Parallelism == 1 });

    public override PipelineEnd<TIn> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph)
    {
        StageOptions o = work.Options(graph);
        return kind switch
        {
            SinkKind.Runnable => builder.To(() => new Keeping(this, graph), o),
            SinkKind.Block => builder.To(() => new ActionBlock<long>(x => KeepAsync(graph, x).AsTask(), new ExecutionDataflowBlockOptions { BoundedCapacity = work.Capacity, MaxDegreeOfParallelism = work.Parallelism }), new() { Name = work.Name, BoundedCapacity = work.Capacity }),
            SinkKind.Channel => builder.To(_channel.Writer, new() { Name = work.Name, BoundedCapacity = work.Capacity }),
            _ => work.Pace == Pace.Sync
                ? builder.ForEach(x => Keep(work.Handle(graph, x)), o)
                : builder.ForEach((x, _) => KeepAsync(graph, x), o),
        };
    }

    public override void Describe(StringBuilder text, string indent) => text.Append(indent).AppendLine($"{kind} {work}");

    private void Keep(long item) => _arrived.Enqueue(item);

    private async ValueTask KeepAsync(GraphContext graph, long item) => Keep(await work.HandleAsync(graph, item));

    private sealed class Keeping(Sink sink, GraphContext graph) : SinkRunnable<long>
    {
        protected override ValueTask OnItemAsync(long item, CancellationToken cancellationToken) => sink.KeepAsync(graph, item);
    }
}

internal sealed class BroadcastEnd(string name, int capacity, IReadOnlyList<Branch> branches) : End
{
    public override void Apply(Flow input, Prediction prediction)
    {
        foreach (Branch branch in branches)
            branch.Apply(input, prediction);
    }

    public override PipelineEnd<TIn> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph) =>
        builder.Broadcast(new() { Name = name, BoundedCapacity = capacity }, [.. branches.Select<Branch, Func<BranchBuilder<long>, PipelineEnd<BranchInput>>>(branch => b => branch.BuildEnd(b, graph))]);

    public override void Describe(StringBuilder text, string indent)
    {
        text.Append(indent).AppendLine($"{name}(cap {capacity})");
        foreach (Branch branch in branches)
            branch.Describe(text, indent);
    }
}

internal sealed class RouteEnd(string name, int capacity, IReadOnlyList<Branch> branches) : End
{
    public override void Apply(Flow input, Prediction prediction)
    {
        for (int i = 0; i < branches.Count; i++)
            branches[i].Apply(input.Keep(x => Mixing.Small(x, branches.Count) == i), prediction);
    }

    public override PipelineEnd<TIn> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph)
    {
        RouteBuilder<TIn, long> route = builder.Route(new() { Name = name, BoundedCapacity = capacity });
        for (int i = 0; i < branches.Count - 1; i++)
        {
            int index = i;
            route.When(x => Mixing.Small(x, branches.Count) == index, b => branches[index].BuildEnd(b, graph));
        }

        return route.Otherwise(b => branches[^1].BuildEnd(b, graph));
    }

    public override void Describe(StringBuilder text, string indent)
    {
        text.Append(indent).AppendLine($"{name}(cap {capacity})");
        foreach (Branch branch in branches)
            branch.Describe(text, indent);
    }
}

/// <summary>A runnable with two outputs, each with a branch of its own.</summary>
internal sealed class PortEnd(Work work, Branch a, Branch b) : End
{
    public override void Apply(Flow input, Prediction prediction)
    {
        (Flow first, Flow second) = Splitting.Apply(work, input, prediction);
        a.Apply(first, prediction);
        b.Apply(second, prediction);
    }

    public override PipelineEnd<TIn> Build<TIn>(PipelineBuilder<TIn, long> builder, GraphContext graph) => builder
        .Into(static code => new Splitter(code), work.Code(graph), static r => r.In, work.Options(graph))
        .Branch(static r => r.A, x => a.BuildEnd(x, graph))
        .Branch(static r => r.B, x => b.BuildEnd(x, graph))
        .End();

    public override void Describe(StringBuilder text, string indent)
    {
        text.Append(indent).AppendLine($"split by {work}");
        a.Describe(text, indent);
        b.Describe(text, indent);
    }
}
