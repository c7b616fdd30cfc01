using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>Describes stages that run a runnable: an existing one, or one that a factory makes where it runs.</summary>
internal static class RunnableStages
{
    public const string AnInstance = "it holds a runnable that was made in this process. Pass a static factory, which is called where the runnable runs.";

    public static StageDefinition Items<TIn, TOut>(StageOptions? options, Runnable<TIn, TOut> runnable, Func<TIn, int>? keyHash = null) =>
        ItemStages.Define("runnable", options, new Recipe<ItemHandler<TIn, TOut>>(HostedItems<TIn, TOut>.Make, (_, _) => new RunnableHandler<TIn, TOut>(runnable), null) { LocalOnly = AnInstance }, keyHash, runnable);

    public static StageDefinition Items<TIn, TOut>(StageOptions? options, Func<Runnable<TIn, TOut>> factory, Func<TIn, int>? keyHash = null) =>
        ItemStages.Define("runnable", options, new Recipe<ItemHandler<TIn, TOut>>(HostedItems<TIn, TOut>.Make, static (code, _) => new RunnableHandler<TIn, TOut>(Made(((Func<Runnable<TIn, TOut>>)code!)())), factory) { HasState = true }, keyHash);

    public static StageDefinition Items<TOptions, TIn, TOut>(StageOptions? options, Func<TOptions, Runnable<TIn, TOut>> factory, TOptions runnableOptions, Func<TIn, int>? keyHash = null) =>
        ItemStages.Define("runnable", options, new Recipe<ItemHandler<TIn, TOut>>(HostedItems<TIn, TOut>.Make, static (code, o) => new RunnableHandler<TIn, TOut>(Made(((Func<TOptions, Runnable<TIn, TOut>>)code!)((TOptions)o!))), factory, runnableOptions, typeof(TOptions)) { HasState = true }, keyHash);

    public static StageDefinition Sink<TIn>(StageOptions? options, SinkRunnable<TIn> runnable, Func<TIn, int>? keyHash = null) =>
        ItemStages.Define("sink", options, new Recipe<ItemHandler<TIn, NoOutput>>(HostedItems<TIn, NoOutput>.Make, (_, _) => new SinkHandler<TIn>(runnable), null) { LocalOnly = AnInstance }, keyHash, runnable);

    public static StageDefinition Sink<TIn>(StageOptions? options, Func<SinkRunnable<TIn>> factory, Func<TIn, int>? keyHash = null) =>
        ItemStages.Define("sink", options, new Recipe<ItemHandler<TIn, NoOutput>>(HostedItems<TIn, NoOutput>.Make, static (code, _) => new SinkHandler<TIn>(Made(((Func<SinkRunnable<TIn>>)code!)())), factory) { HasState = true }, keyHash);

    public static StageDefinition Sink<TOptions, TIn>(StageOptions? options, Func<TOptions, SinkRunnable<TIn>> factory, TOptions runnableOptions, Func<TIn, int>? keyHash = null) =>
        ItemStages.Define("sink", options, new Recipe<ItemHandler<TIn, NoOutput>>(HostedItems<TIn, NoOutput>.Make, static (code, o) => new SinkHandler<TIn>(Made(((Func<TOptions, SinkRunnable<TIn>>)code!)((TOptions)o!))), factory, runnableOptions, typeof(TOptions)) { HasState = true }, keyHash);

    public static StageDefinition Source<TOut>(StageOptions? options, SourceRunnable<TOut> runnable) =>
        ItemStages.DefineSource("source", options, new Recipe<SourceBody<TOut>>(HostedSource<TOut>.Make, (_, _) => new SourceRunnableBody<TOut>(runnable), null) { LocalOnly = AnInstance }, runnable);

    public static StageDefinition Source<TOut>(StageOptions? options, Func<SourceRunnable<TOut>> factory) =>
        ItemStages.DefineSource("source", options, new Recipe<SourceBody<TOut>>(HostedSource<TOut>.Make, static (code, _) => new SourceRunnableBody<TOut>(Made(((Func<SourceRunnable<TOut>>)code!)())), factory) { HasState = true });

    public static StageDefinition Source<TOptions, TOut>(StageOptions? options, Func<TOptions, SourceRunnable<TOut>> factory, TOptions runnableOptions) =>
        ItemStages.DefineSource("source", options, new Recipe<SourceBody<TOut>>(HostedSource<TOut>.Make, static (code, o) => new SourceRunnableBody<TOut>(Made(((Func<TOptions, SourceRunnable<TOut>>)code!)((TOptions)o!))), factory, runnableOptions, typeof(TOptions)) { HasState = true });

    public static StageDefinition Command(StageOptions? options, Func<CommandRunnable> factory) =>
        DefineCommand(options, new Recipe<CommandRunnable>(HostedCommand.Make, static (code, _) => Made(((Func<CommandRunnable>)code!)()), factory) { HasState = true });

    public static StageDefinition Command<TOptions>(StageOptions? options, Func<TOptions, CommandRunnable> factory, TOptions runnableOptions) =>
        DefineCommand(options, new Recipe<CommandRunnable>(HostedCommand.Make, static (code, o) => Made(((Func<TOptions, CommandRunnable>)code!)((TOptions)o!)), factory, runnableOptions, typeof(TOptions)) { HasState = true });

    private static StageDefinition DefineCommand(StageOptions? options, Recipe<CommandRunnable> recipe) =>
        new("command", options ?? StageOptions.Default, setup => setup.Options.Placement is InProcessPlacement
            ? new CommandStage(setup, recipe.Make)
            : new ChildStage(setup, new ChildPlan(recipe, [], [], HasBody: true)))
        {
            HasInstances = true,
            HasTicks = true,
            IsSource = true,
            Recipe = recipe,
        };

    /// <summary>What a factory made.</summary>
    /// <exception cref="InvalidOperationException">It made nothing.</exception>
    public static TRunnable Made<TRunnable>(TRunnable? made)
        where TRunnable : Runnable =>
        made ?? throw new InvalidOperationException($"The factory of a {typeof(TRunnable).Name} returned null. Return a new runnable at each call.");
}
