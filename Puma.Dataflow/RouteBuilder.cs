using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>A route under construction, so far with branches that end by themselves.</summary>
/// <typeparam name="TIn">What the pipeline accepts.</typeparam>
/// <typeparam name="T">The item type.</typeparam>
public sealed class RouteBuilder<TIn, T>
{
    private readonly StageDefinition _route;
    private readonly List<Func<T, bool>> _predicates;
    private bool _isMerged;

    internal RouteBuilder(StageDefinition route, List<Func<T, bool>> predicates)
    {
        _route = route;
        _predicates = predicates;
    }

    /// <summary>Leads items to a branch that ends by itself.</summary>
    /// <param name="predicate">Which items; asked only when no predicate before it held.</param>
    /// <param name="branch">Continues its parameter to an end.</param>
    /// <exception cref="ArgumentException">An argument is null, or the branch is not connected.</exception>
    /// <exception cref="InvalidOperationException">The route was finished before.</exception>
    public RouteBuilder<TIn, T> When(Func<T, bool> predicate, Func<BranchBuilder<T>, PipelineEnd<BranchInput>> branch)
    {
        AddPredicate(predicate);
        BranchBuilder<T>.Write(_route, _predicates.Count - 1, branch);
        return this;
    }

    /// <summary>Leads items to a branch that is merged with others behind the route.</summary>
    /// <typeparam name="TOut">The item type behind the route.</typeparam>
    /// <param name="predicate">Which items; asked only when no predicate before it held.</param>
    /// <param name="branch">Continues its parameter.</param>
    /// <exception cref="ArgumentException">An argument is null, or the branch is not connected.</exception>
    /// <exception cref="InvalidOperationException">The route was finished before.</exception>
    public RouteBuilder<TIn, T, TOut> When<TOut>(Func<T, bool> predicate, Func<BranchBuilder<T>, PipelineBuilder<BranchInput, TOut>> branch) =>
        Merged<TOut>().When(predicate, branch);

    /// <summary>Leads all other items to a branch that ends by itself, and ends the pipeline here.</summary>
    /// <param name="branch">Continues its parameter to an end.</param>
    /// <exception cref="ArgumentException">The branch is null or not connected.</exception>
    /// <exception cref="InvalidOperationException">The route was finished before.</exception>
    public PipelineEnd<TIn> Otherwise(Func<BranchBuilder<T>, PipelineEnd<BranchInput>> branch)
    {
        ThrowIfContinued();
        BranchBuilder<T>.Write(_route, _predicates.Count, branch);
        _route.Unfinished = null;
        return new PipelineEnd<TIn>(_route);
    }

    /// <summary>Leads all other items to a branch that is merged behind the route.</summary>
    /// <typeparam name="TOut">The item type behind the route.</typeparam>
    /// <param name="branch">Continues its parameter.</param>
    /// <exception cref="ArgumentException">The branch is null or not connected.</exception>
    /// <exception cref="InvalidOperationException">The route was finished before.</exception>
    public PipelineBuilder<TIn, TOut> Otherwise<TOut>(Func<BranchBuilder<T>, PipelineBuilder<BranchInput, TOut>> branch) =>
        Merged<TOut>().Otherwise(branch);

    private void AddPredicate(Func<T, bool> predicate)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        ThrowIfContinued();
        _predicates.Add(predicate);
    }

    private RouteBuilder<TIn, T, TOut> Merged<TOut>()
    {
        ThrowIfContinued();
        _isMerged = true;
        return new RouteBuilder<TIn, T, TOut>(_route, _predicates);
    }

    private void ThrowIfContinued()
    {
        RouteRules.ThrowIfFinished(_route);
        if (_isMerged)
            throw new InvalidOperationException($"The route '{RouteRules.NameOf(_route)}' goes on with the builder that the first merged branch returned. Write the whole route as one chain.");
    }
}

/// <summary>A route under construction, some of whose branches are merged behind it.</summary>
/// <typeparam name="TIn">What the pipeline accepts.</typeparam>
/// <typeparam name="T">The item type.</typeparam>
/// <typeparam name="TOut">The item type behind the route.</typeparam>
public sealed class RouteBuilder<TIn, T, TOut>
{
    private readonly StageDefinition _route;
    private readonly List<Func<T, bool>> _predicates;
    private readonly StageDefinition _merge = new("merge", StageOptions.Default, static setup => new MergeStage<TOut>(setup));

    internal RouteBuilder(StageDefinition route, List<Func<T, bool>> predicates)
    {
        _route = route;
        _predicates = predicates;
    }

    /// <summary>Leads items to a branch that ends by itself.</summary>
    /// <param name="predicate">Which items; asked only when no predicate before it held.</param>
    /// <param name="branch">Continues its parameter to an end.</param>
    /// <exception cref="ArgumentException">An argument is null, or the branch is not connected.</exception>
    /// <exception cref="InvalidOperationException">The route was finished before.</exception>
    public RouteBuilder<TIn, T, TOut> When(Func<T, bool> predicate, Func<BranchBuilder<T>, PipelineEnd<BranchInput>> branch)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        RouteRules.ThrowIfFinished(_route);
        _predicates.Add(predicate);
        BranchBuilder<T>.Write(_route, _predicates.Count - 1, branch);
        return this;
    }

    /// <summary>Leads items to a branch that is merged with the others behind the route.</summary>
    /// <param name="predicate">Which items; asked only when no predicate before it held.</param>
    /// <param name="branch">Continues its parameter.</param>
    /// <exception cref="ArgumentException">An argument is null, or the branch is not connected.</exception>
    /// <exception cref="InvalidOperationException">The route was finished before.</exception>
    public RouteBuilder<TIn, T, TOut> When(Func<T, bool> predicate, Func<BranchBuilder<T>, PipelineBuilder<BranchInput, TOut>> branch)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        RouteRules.ThrowIfFinished(_route);
        _predicates.Add(predicate);
        BranchBuilder<T>.Write(_route, _predicates.Count - 1, branch).ConnectTo(_merge);
        return this;
    }

    /// <summary>Leads all other items to a branch that ends by itself.</summary>
    /// <param name="branch">Continues its parameter to an end.</param>
    /// <exception cref="ArgumentException">The branch is null or not connected.</exception>
    /// <exception cref="InvalidOperationException">The route was finished before.</exception>
    public PipelineBuilder<TIn, TOut> Otherwise(Func<BranchBuilder<T>, PipelineEnd<BranchInput>> branch)
    {
        RouteRules.ThrowIfFinished(_route);
        BranchBuilder<T>.Write(_route, _predicates.Count, branch);
        return Finish();
    }

    /// <summary>Leads all other items to a branch that is merged with the others behind the route.</summary>
    /// <param name="branch">Continues its parameter.</param>
    /// <exception cref="ArgumentException">The branch is null or not connected.</exception>
    /// <exception cref="InvalidOperationException">The route was finished before.</exception>
    public PipelineBuilder<TIn, TOut> Otherwise(Func<BranchBuilder<T>, PipelineBuilder<BranchInput, TOut>> branch)
    {
        RouteRules.ThrowIfFinished(_route);
        BranchBuilder<T>.Write(_route, _predicates.Count, branch).ConnectTo(_merge);
        return Finish();
    }

    private PipelineBuilder<TIn, TOut> Finish()
    {
        _route.Unfinished = null;
        return new PipelineBuilder<TIn, TOut>(_merge);
    }
}

/// <summary>A route is written once, from its first branch to <c>Otherwise</c>.</summary>
file static class RouteRules
{
    public static string NameOf(StageDefinition route) => route.Options.Name ?? route.Kind;

    public static void ThrowIfFinished(StageDefinition route)
    {
        if (route.Unfinished is null)
            throw new InvalidOperationException($"The route '{NameOf(route)}' was finished by Otherwise and takes no further branch. Put all When before Otherwise.");
    }
}
