using System.Diagnostics;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>
/// The logging of a child, which hands everything to the parent. In a process of its own, NLog has one target that does so, too, from
/// the moment on at which user code loads it: that takes its time, and most children never need it. No configuration file is read there,
/// so no child ever opens a log file.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class ChildLogging : IDisposable
{
    // Made once, by whoever loads NLog.
    private ChildNLog? _nlog;
    private int _hasNLog;

    /// <param name="control">The control connection.</param>
    /// <param name="ring">Where records outlive the process; null in the parent's process, which has an NLog of its own.</param>
    public ChildLogging(FrameChannel control, LogRing? ring)
    {
        Sender = new LogSender(control, ring);
        Levels = new ChildLevels(control);
        if (ring is null)
            return;
        AppDomain.CurrentDomain.AssemblyLoad += OnAssemblyLoad;
        if (Array.Exists(AppDomain.CurrentDomain.GetAssemblies(), static a => a.GetName().Name == "NLog"))
            ConfigureNLogOnce();
    }

    public LogSender Sender { get; }

    public ChildLevels Levels { get; }

    /// <summary>The scopes of the loggers.</summary>
    public LoggerExternalScopeProvider Scopes { get; } = new();

    /// <summary>What the user code knows of its stage; set before there is any.</summary>
    public StageContext? Context { get; set; }

    public ILogger CreateLogger(string category) => new ForwardingLogger(category, this);

    /// <summary>What goes with everything that is logged now.</summary>
    public LogRecord NewRecord(LogLevel level, string category, string message, Exception? exception)
    {
        List<KeyValuePair<string, object?>> properties = [];
        List<string> texts = [];
        LogScopes.Read(Scopes, properties, texts);
        if (_nlog is not null || DefaultLogging.IsInUse)
            ChildNLog.ReadScopes(properties, texts);
        if (Context is { } stage && !properties.Exists(static p => p.Key == StageLogger.Stage))
        {
            properties.Add(new(StageLogger.Stage, stage.StageName));
            properties.Add(new(StageLogger.Item, stage.ItemNumber));
        }

        var activity = Activity.Current;
        return new LogRecord
        {
            Level = level,
            Category = category,
            Time = TimeProvider.System.GetUtcNow().Ticks,
            Message = message,
            ScopeProperties = properties,
            ScopeTexts = texts,
            Error = exception is null ? null : ErrorRecord.Of(exception),
            ErrorText = exception is null ? null : LogValue.TextOf(exception),
            ThreadName = Thread.CurrentThread.Name,
            TraceId = activity?.TraceId.ToString(),
            SpanId = activity?.SpanId.ToString(),
            CallSite = Levels.WantsCallSite ? CallSites.Find() : null,
        };
    }

    public void Dispose()
    {
        AppDomain.CurrentDomain.AssemblyLoad -= OnAssemblyLoad;
        _nlog?.Dispose();
    }

    /// <summary>Comes before the code that needs the assembly runs on.</summary>
    private void OnAssemblyLoad(object? sender, AssemblyLoadEventArgs load)
    {
        if (load.LoadedAssembly.GetName().Name == "NLog")
            ConfigureNLogOnce();
    }

    private void ConfigureNLogOnce()
    {
        if (Interlocked.Exchange(ref _hasNLog, 1) == 0)
            ConfigureNLog();
    }

    // On its own, since compiling it loads NLog.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private void ConfigureNLog() => _nlog = new ChildNLog(this);
}
