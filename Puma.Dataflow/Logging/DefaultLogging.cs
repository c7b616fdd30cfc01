using Microsoft.Extensions.Logging;
using NLog;
using NLog.Config;
using NLog.Extensions.Logging;
using NLog.Targets;

namespace Puma.Dataflow.Logging;

/// <summary>
/// Where pipelines log that were given no logger factory: to NLog, as the application configured it, or else to a console target on
/// standard error (the library from Warning, user code from Information), so that standard output stays the user's.
/// </summary>
internal static class DefaultLogging
{
    private static readonly Lazy<ILoggerFactory> Instance = new(static () => new NLogLoggerFactory());

    /// <summary>The factory of NLog's loggers; its configuration may change at any time.</summary>
    public static ILoggerFactory Factory => Instance.Value;

    /// <summary>Whether <see cref="Factory"/> was ever asked for. Does not load NLog for it, which takes its time.</summary>
    public static bool IsInUse => Instance.IsValueCreated;

    /// <summary>Whether loggers are those of <see cref="Factory"/>. Does not load NLog for it, either.</summary>
    public static bool IsMadeBy(ILoggerFactory loggers) => IsInUse && loggers == Instance.Value;

    /// <summary>Gives NLog a configuration if the application has none; user code that logs by NLog itself needs one, too.</summary>
    public static void EnsureConfigured()
    {
        ForwardedRenderers.Register();
        lock (Instance)
        {
            if (LogManager.Configuration is { } configuration && configuration is not XmlLoggingConfiguration { AllTargets.Count: 0, LoggingRules.Count: 0 })
                return;
            bool isUnread = LogManager.Configuration is not null;
            LogManager.Configuration = MakeConsole();
            if (isUnread)
                LogManager.GetLogger("Puma.Dataflow.Logging").Warn("The configuration file of NLog could not be read, or has neither targets nor rules; what is logged goes to standard error. With throwConfigExceptions=\"true\" in the file, NLog says what is wrong with it.");
        }
    }

    private static LoggingConfiguration MakeConsole()
    {
        var console = new ConsoleTarget("puma-stderr")
        {
            StdErr = true,
            Layout = "${longdate} ${level:uppercase=true:padding=-5} ${logger} ${message}${onexception:inner=${newline}${exception:format=tostring}}",
        };
        var configuration = new LoggingConfiguration();
        configuration.LoggingRules.Add(new LoggingRule("Puma.Dataflow.*", console) { FinalMinLevel = NLog.LogLevel.Warn });
        configuration.AddRule(NLog.LogLevel.Info, NLog.LogLevel.Fatal, console);
        return configuration;
    }
}
