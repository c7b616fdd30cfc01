using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>A piece of a pipeline that other pipelines go through, any number of times. Immutable; made by <c>AsPart()</c>.</summary>
/// <typeparam name="TIn">What it accepts.</typeparam>
/// <typeparam name="TOut">What it emits.</typeparam>
public sealed class PipelinePart<TIn, TOut>
{
    private readonly List<StageDefinition> _stages;
    private readonly StageDefinition _entry;
    private readonly StageDefinition _last;
    private readonly int _port;

    internal PipelinePart(PipelineBuilder<TIn, TOut> builder)
    {
        _stages = GraphOrder.Of(builder.Stage);
        _entry = _stages.FirstOrDefault(static s => s.IsEntry)
            ?? throw new InvalidOperationException("A part needs an entry: start it with Pipeline.Accept<T>().");
        if (_stages.Count == 1)
            throw new InvalidOperationException("A part needs at least one stage behind its entry.");
        (_last, _port) = (builder.Stage, builder.Port);
    }

    /// <summary>Copies the stages behind a builder, in place of the entry.</summary>
    internal PipelineBuilder<TBefore, TOut> ContinueFrom<TBefore>(PipelineBuilder<TBefore, TIn> builder, string? name)
    {
        var copies = new Dictionary<StageDefinition, StageDefinition>();
        foreach (StageDefinition stage in _stages.Where(s => s != _entry))
        {
            string? ownName = stage.Options.Name;
            StageOptions options = name is null || ownName is null ? stage.Options : stage.Options with { Name = $"{name}/{ownName}" };
            StageDefinition copy = stage.Copy(options);
            copy.Problems.AddRange(stage.Problems);
            copies.Add(stage, copy);
        }

        foreach (Edge edge in _stages.SelectMany(static s => s.Inputs))
        {
            if (edge.From == _entry)
                builder.ConnectTo(copies[edge.To]);
            else
                edge.CopyTo(copies[edge.From], copies[edge.To]);
        }

        return new PipelineBuilder<TBefore, TOut>(copies[_last], _port);
    }
}
