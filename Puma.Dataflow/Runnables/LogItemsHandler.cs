using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Runnables;

/// <summary>Logs each item with the logger of the stage and passes it on.</summary>
internal sealed class LogItemsHandler<T>(LogLevel level, Func<T, string>? format) : ItemHandler<T, T>
{
    private StageContext _context = null!;

    public override bool EmitsLast => true;

    public override ValueTask StartAsync(StageContext context, Emitter<T> output, CancellationToken cancellationToken)
    {
        _context = context;
        return default;
    }

    public override ValueTask HandleAsync(T item, Emitter<T> output, CancellationToken cancellationToken)
    {
        if (_context.Logger.IsEnabled(level))
            Log.ItemPassed(_context.Logger, level, _context.ItemNumber, format is null ? item : format(item));
        return output.EmitAsync(item, cancellationToken);
    }
}
