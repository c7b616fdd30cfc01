using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>Chooses the stage for user code: one instance in line, a pool, or children elsewhere.</summary>
internal static class ItemStages
{
    /// <summary>Describes a stage that handles items; of a sink the output type is <see cref="NoOutput"/>.</summary>
    public static StageDefinition Define<TIn, TOut>(
        string kind, StageOptions? options, Recipe<ItemHandler<TIn, TOut>> recipe, Func<TIn, int>? partition = null, object? singleUse = null, bool isOneToOne = false, bool isAsyncStream = false) =>
        new(kind, options ?? StageOptions.Default, setup => Create(setup, recipe, partition, isOneToOne))
        {
            ItemType = typeof(TIn),
            AllowsParallelism = singleUse is null,
            HasInstances = true,
            HasTicks = IsRunnable(recipe, singleUse),
            SingleUse = singleUse,
            IsOneToOne = isOneToOne,
            IsAsyncStream = isAsyncStream,
            Recipe = recipe,
            CarriedItems = [typeof(TIn)],
            CarriedResults = typeof(TOut) == typeof(NoOutput) ? [] : [typeof(TOut)],
        };

    public static StageDefinition DefineSource<TOut>(string kind, StageOptions? options, Recipe<SourceBody<TOut>> recipe, object? singleUse = null) =>
        new(kind, options ?? StageOptions.Default, setup => CreateSource(setup, recipe))
        {
            HasInstances = true,
            HasTicks = IsRunnable(recipe, singleUse),
            IsSource = true,
            SingleUse = singleUse,
            Recipe = recipe,
            CarriedResults = [typeof(TOut)],
        };

    /// <summary>Makes the stage for one run.</summary>
    public static StageNode Create<TIn, TOut>(StageSetup setup, Recipe<ItemHandler<TIn, TOut>> recipe, Func<TIn, int>? partition = null, bool isOneToOne = false)
    {
        if (setup.Options.Placement is not InProcessPlacement)
            return new ChildStage(setup, Plan(setup, recipe, partition, isOneToOne));
        Func<ItemHandler<TIn, TOut>> make = setup.Options.OwnThread ? () => new OwnThreadHandler<TIn, TOut>(recipe.Make, setup.Name) : recipe.Make;
        if (setup.Options.MaxDegreeOfParallelism > 1)
            return new PoolStage<TIn, TOut>(setup, make, partition, isOneToOne);
        if (make is Func<ItemHandler<TIn, NoOutput>> makeSink)
            return new SerialStage<TIn, NoOutput, NullEmitter>(setup, makeSink, static _ => NullEmitter.Instance);
        return new SerialStage<TIn, TOut, LinkEmitter<TOut>>(setup, make, static stage => new LinkEmitter<TOut>(stage, (Link<TOut>)stage.Outputs[0]));
    }

    /// <summary>How the stage reaches its children.</summary>
    public static ChildPlan Plan<TIn, TOut>(StageSetup setup, Recipe<ItemHandler<TIn, TOut>> recipe, Func<TIn, int>? partition = null, bool isOneToOne = false) => new(
        recipe,
        [(stage, link, codecs) => new ChildInput<TIn>(stage, (Link<TIn>)link, codecs, partition)],
        typeof(TOut) == typeof(NoOutput) ? [] : [static (stage, link, codecs) => new ChildOutput<TOut>(stage, (Link<TOut>)link, codecs)],
        IsOneToOne: isOneToOne,
        IsPartitioned: partition is not null && setup.Options.MaxDegreeOfParallelism > 1);

    // Of the code that is given to this class, only a runnable remembers things.
    private static bool IsRunnable(Recipe recipe, object? singleUse) => recipe.HasState || singleUse is Runnable;

    private static StageNode CreateSource<TOut>(StageSetup setup, Recipe<SourceBody<TOut>> recipe)
    {
        if (setup.Options.Placement is not InProcessPlacement)
            return new ChildStage(setup, new ChildPlan(recipe, [], [static (stage, link, codecs) => new ChildOutput<TOut>(stage, (Link<TOut>)link, codecs)], HasBody: true));
        return new SourceStage<TOut>(setup, setup.Options.OwnThread ? () => new OwnThreadBody<TOut>(recipe.Make, setup.Name) : recipe.Make);
    }
}
