using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>Describes stages that run a runnable.</summary>
internal static class RunnableStages
{
    public static StageDefinition Items<TIn, TOut>(StageOptions? options, Func<Runnable<TIn, TOut>> make, Func<TIn, int>? keyHash, object? singleUse) =>
        new("runnable", options ?? StageOptions.Default, setup => ItemStages.Create(setup, () => new RunnableHandler<TIn, TOut>(Made(make)), keyHash))
        {
            ItemType = typeof(TIn),
            AllowsParallelism = singleUse is null,
            HasInstances = true,
            SingleUse = singleUse,
        };

    public static StageDefinition Sink<TIn>(StageOptions? options, Func<SinkRunnable<TIn>> make, Func<TIn, int>? keyHash, object? singleUse) =>
        new("sink", options ?? StageOptions.Default, setup => ItemStages.CreateSink(setup, () => new SinkHandler<TIn>(Made(make)), keyHash))
        {
            ItemType = typeof(TIn),
            AllowsParallelism = singleUse is null,
            HasInstances = true,
            SingleUse = singleUse,
        };

    public static StageDefinition Source<TOut>(StageOptions? options, Func<SourceRunnable<TOut>> make, object? singleUse) =>
        new("source", options ?? StageOptions.Default, setup => ItemStages.CreateSource(setup, () => new SourceRunnableBody<TOut>(Made(make))))
        {
            HasInstances = true,
            IsSource = true,
            SingleUse = singleUse,
        };

    /// <summary>What a factory made.</summary>
    /// <exception cref="InvalidOperationException">It made nothing.</exception>
    public static TRunnable Made<TRunnable>(Func<TRunnable> make)
        where TRunnable : Runnable =>
        make() ?? throw new InvalidOperationException($"The factory of a {typeof(TRunnable).Name} returned null. Return a new runnable at each call.");
}
