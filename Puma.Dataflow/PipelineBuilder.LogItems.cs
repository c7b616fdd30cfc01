using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

public partial class PipelineBuilder<TIn, T>
{
    /// <summary>Logs each item that passes, as event 25 with its number, and passes it on unchanged.</summary>
    /// <param name="level">The level of the records; items are not even formatted when it is off.</param>
    /// <param name="format">What is said of an item; default the item itself, as a value of the record.</param>
    /// <param name="options">The settings of the stage; its name is the end of the log category, <c>Runnables.[pipeline].[stage]</c>.</param>
    /// <remarks>
    /// Emits: each item unchanged, after it was logged. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when <paramref name="format"/> or the logger throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="level"/> is no level.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, T> LogItems(LogLevel level = LogLevel.Information, Func<T, string>? format = null, StageOptions? options = null)
    {
        if (!Enum.IsDefined(level))
            throw new ArgumentOutOfRangeException(nameof(level), level, $"It must be one of {string.Join(", ", Enum.GetNames<LogLevel>())}.");
        var recipe = new Recipe<ItemHandler<T, T>>(HostedItems<T, T>.Make, static (code, at) => new LogItemsHandler<T>((LogLevel)at!, (Func<T, string>?)code), format, level, typeof(LogLevel));
        return Continue<T>(ItemStages.Define("log-items", options, recipe, isOneToOne: true));
    }
}
