using System.Diagnostics;
using NLog;
using NLog.Targets;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>The one NLog target of a child: hands what is logged there to its parent.</summary>
/// <param name="sender">Sends it.</param>
/// <param name="levels">Knows what is wanted.</param>
/// <param name="context">What the user code knows of its stage, once there is any.</param>
internal sealed class ForwardingTarget(LogSender sender, ChildLevels levels, Func<StageContext?> context) : Target
{
    /// <summary>Names of the values that say where something was logged; see docs/logging.md.</summary>
    public const string Stage = "puma.stage", Item = "puma.item";

    protected override void Write(LogEventInfo logEvent)
    {
        // The levels of NLog may be behind those that the parent wants.
        if (!levels.Wants(logEvent.LoggerName ?? "", logEvent.Level.Ordinal))
            return;
        sender.Send(logEvent is ForwardedEvent forwarded ? forwarded.Record with { ScopeProperties = ScopeProperties() } : Describe(logEvent));
    }

    private LogRecord Describe(LogEventInfo logEvent)
    {
        var activity = Activity.Current;
        return new LogRecord
        {
            Level = (Microsoft.Extensions.Logging.LogLevel)logEvent.Level.Ordinal,
            Category = logEvent.LoggerName ?? "",
            Time = TimeProvider.System.GetUtcNow().Ticks,
            Message = MessageOf(logEvent),
            Template = logEvent.Message,
            Properties = logEvent.HasProperties ? [.. logEvent.Properties.Select(static p => new KeyValuePair<string, object?>(LogValue.TextOf(p.Key), p.Value))] : [],
            ScopeProperties = ScopeProperties(),
            ScopeTexts = [.. ScopeContext.GetAllNestedStates().Select(LogValue.TextOf).Reverse()],
            Error = logEvent.Exception is { } error ? ErrorRecord.Of(error) : null,
            ErrorText = logEvent.Exception is { } whole ? LogValue.TextOf(whole) : null,
            ThreadName = Thread.CurrentThread.Name,
            TraceId = activity?.TraceId.ToString(),
            SpanId = activity?.SpanId.ToString(),
            CallSite = levels.WantsCallSite ? FindCallSite() : null,
        };
    }

    private List<KeyValuePair<string, object?>> ScopeProperties()
    {
        var properties = new Dictionary<string, object?>();
        foreach ((string key, object? value) in ScopeContext.GetAllProperties())
            properties.TryAdd(key, value);
        if (context() is { } stage)
        {
            properties.TryAdd(Stage, stage.StageName);
            properties.TryAdd(Item, stage.ItemNumber);
        }

        return [.. properties];
    }

    /// <summary>The text; objects in it may throw.</summary>
    private static string MessageOf(LogEventInfo logEvent)
    {
        try
        {
            return logEvent.FormattedMessage ?? "";
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            return $"{logEvent.Message} (could not be formatted: {error.GetType().Name})";
        }
    }

    /// <summary>The first caller that is no part of a logging library.</summary>
    private static CallSite? FindCallSite()
    {
        foreach (StackFrame frame in new StackTrace(fNeedFileInfo: true).GetFrames())
        {
            if (DiagnosticMethodInfo.Create(frame) is { } method && !IsOfLogging(method.DeclaringAssemblyName))
                return new CallSite(method.DeclaringTypeName, method.Name, frame.GetFileName(), frame.GetFileLineNumber());
        }

        return null;
    }

    private static bool IsOfLogging(string assembly) =>
        assembly.StartsWith("NLog", StringComparison.Ordinal) || assembly.StartsWith("Microsoft.Extensions.Logging", StringComparison.Ordinal) || assembly.StartsWith("Puma.Dataflow,", StringComparison.Ordinal);
}
