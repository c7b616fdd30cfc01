using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>
/// The logging of a child, which hands everything to the parent. In a process of its own, NLog has one target that does so, too, before
/// there is user code: NLog reads no configuration file there, so no child ever opens a log file.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class ChildLogging : IAsyncDisposable
{
    private readonly Task<ChildNLog>? _nlog;

    /// <param name="control">The control connection.</param>
    /// <param name="ring">Where records outlive the process; null in the parent's process, which has an NLog of its own.</param>
    public ChildLogging(FrameChannel control, LogRing? ring)
    {
        Sender = new LogSender(control, ring);
        Levels = new ChildLevels(control);

        // Meanwhile the parent says what is to be made.
        if (ring is not null)
            _nlog = Task.Run(() => new ChildNLog(this));
    }

    /// <summary>Ends when there may be user code.</summary>
    public Task Ready => _nlog ?? Task.CompletedTask;

    public LogSender Sender { get; }

    public ChildLevels Levels { get; }

    /// <summary>The scopes of the loggers.</summary>
    public LoggerExternalScopeProvider Scopes { get; } = new();

    /// <summary>What the user code knows of its stage; set before there is any.</summary>
    public StageContext? Context { get; set; }

    public ILogger CreateLogger(string category) => new ForwardingLogger(category, this);

    /// <summary>What goes with everything that is logged now.</summary>
    public LogRecord NewRecord(LogLevel level, string category, DateTime time, string message, string? template, IReadOnlyList<KeyValuePair<string, object?>> properties, Exception? exception)
    {
        List<KeyValuePair<string, object?>> scopeProperties = [];
        List<string> scopeTexts = [];
        LogScopes.Read(Scopes, scopeProperties, scopeTexts);
        if (_nlog is not null || DefaultLogging.IsInUse)
            ChildNLog.ReadScopes(scopeProperties, scopeTexts);
        if (Context is { } stage && !scopeProperties.Exists(static p => p.Key == StageLogger.Stage))
        {
            scopeProperties.Add(new(StageLogger.Stage, stage.StageName));
            scopeProperties.Add(new(StageLogger.Item, stage.ItemNumber));
        }

        var activity = Activity.Current;
        return new LogRecord
        {
            Level = level,
            Category = category,
            Time = time.Ticks,
            Message = message,
            Template = template,
            Properties = properties,
            ScopeProperties = scopeProperties,
            ScopeTexts = scopeTexts,
            Error = exception is null ? null : ErrorRecord.Of(exception),
            ErrorText = exception is null ? null : LogValue.TextOf(exception),
            ThreadName = Thread.CurrentThread.Name,
            TraceId = activity?.TraceId.ToString(),
            SpanId = activity?.SpanId.ToString(),
            CallSite = Levels.WantsCallSite ? CallSites.Find() : null,
        };
    }

    public async ValueTask DisposeAsync()
    {
        if (_nlog is not null)
            (await _nlog.ConfigureAwait(false)).Dispose();
    }
}
