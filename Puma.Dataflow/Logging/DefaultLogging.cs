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
    private static readonly Lazy<ILoggerFactory> Instance = new(Make);

    public static ILoggerFactory Factory => Instance.Value;

    private static NLogLoggerFactory Make()
    {
        if (LogManager.Configuration is not null)
            return new NLogLoggerFactory();
        var console = new ConsoleTarget("puma-stderr")
        {
            StdErr = true,
            Layout = "${longdate} ${level:uppercase=true:padding=-5} ${logger} ${message}${onexception:inner=${newline}${exception:format=tostring}}",
        };
        var configuration = new LoggingConfiguration();
        configuration.AddRule(NLog.LogLevel.Warn, NLog.LogLevel.Fatal, console, "Puma.Dataflow.*", final: true);
        configuration.AddRule(NLog.LogLevel.Info, NLog.LogLevel.Fatal, console, "Runnables.*");

        // A log factory of its own: the application's NLog stays as it is.
        var factory = new LogFactory { Configuration = configuration };
        return new NLogLoggerFactory(new NLogLoggerProvider(new NLogProviderOptions(), factory));
    }
}
