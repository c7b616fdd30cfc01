using Microsoft.Extensions.Logging;
using NLog;
using NLog.Config;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>Writes to NLog itself, so that its layouts show the time, the process and the thread of the child.</summary>
internal sealed class NLogSink : LogSink
{
    public static readonly NLogSink Instance = new();

    private readonly Lock _gate = new();

    // Written inside of _gate.
    private volatile LoggingConfiguration? _adopted;

    public override bool WantsCallSite => LogManager.Configuration is { } configuration && ForwardedRenderers.WantCallSite(configuration);

    public override Microsoft.Extensions.Logging.LogLevel Least
    {
        get
        {
            if (LogManager.Configuration is not { } configuration)
                return Microsoft.Extensions.Logging.LogLevel.None;

            // NLog changes the list inside of this lock, too.
            lock (configuration.LoggingRules)
                return (Microsoft.Extensions.Logging.LogLevel)configuration.LoggingRules.SelectMany(static r => r.Levels).Select(static l => l.Ordinal).DefaultIfEmpty((int)Microsoft.Extensions.Logging.LogLevel.None).Min();
        }
    }

    public override void Write(LogRecord record, bool isRecovered)
    {
        if (LogManager.Configuration is { } configuration && _adopted != configuration)
            Adopt(configuration);
        Logger logger = LogManager.GetLogger(record.Category);
        var forwarded = new ForwardedEvent(record);
        if (!logger.IsEnabled(forwarded.Level))
            return;
        var scopes = new Stack<IDisposable>();
        try
        {
            scopes.Push(ScopeContext.PushProperties(ScopeOf(record, isRecovered)));
            foreach (string text in record.ScopeTexts)
                scopes.Push(ScopeContext.PushNestedState(text));
            logger.Log(forwarded);
        }
        finally
        {
            foreach (IDisposable scope in scopes)
                scope.Dispose();
        }
    }

    private void Adopt(LoggingConfiguration configuration)
    {
        lock (_gate)
        {
            if (_adopted == configuration)
                return;
            ForwardedRenderers.Adopt(configuration);
            _adopted = configuration;
        }
    }

    protected override bool IsEnabled(string category, Microsoft.Extensions.Logging.LogLevel level) =>
        LogManager.GetLogger(category).IsEnabled(NLog.LogLevel.FromOrdinal((int)level));
}
