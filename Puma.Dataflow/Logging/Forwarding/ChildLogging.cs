using Microsoft.Extensions.Logging;
using NLog;
using NLog.Config;
using NLog.Extensions.Logging;
using Puma.Dataflow.Isolation;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>
/// The logging of a child: NLog with one target, which hands everything to the parent. User code reaches it by <c>ILogger</c> and,
/// in a process of its own, by NLog itself; no configuration file is read there, so no child ever opens a log file.
/// </summary>
internal sealed class ChildLogging : IDisposable
{
    private readonly NLogLoggerFactory _loggers;
    private readonly LoggingConfiguration _configuration;
    private readonly LogFactory _factory;

    /// <param name="control">The control connection.</param>
    /// <param name="ring">Where records outlive the process; null in the parent's process, which has an NLog of its own.</param>
    public ChildLogging(FrameChannel control, LogRing? ring)
    {
        _factory = ring is null ? new LogFactory() : LogManager.LogFactory;
        Sender = new LogSender(control, ring);
        Levels = new ChildLevels(control, _factory);
        _configuration = Levels.Configure(new ForwardingTarget(Sender, Levels, () => Context));
        _factory.Configuration = _configuration;
        if (ring is not null)
            _factory.ConfigurationChanged += KeepConfiguration;
        _loggers = new NLogLoggerFactory(new NLogLoggerProvider(new NLogProviderOptions(), _factory));
    }

    public LogSender Sender { get; }

    public ChildLevels Levels { get; }

    /// <summary>What the user code knows of its stage; set before there is any.</summary>
    public StageContext? Context { get; set; }

    public Microsoft.Extensions.Logging.ILogger CreateLogger(string category) => new TolerantLogger(_loggers.CreateLogger(category));

    public void Dispose()
    {
        _factory.ConfigurationChanged -= KeepConfiguration;
        _loggers.Dispose();
    }

    /// <summary>User code that configures NLog means the program's own process.</summary>
    private void KeepConfiguration(object? sender, LoggingConfigurationChangedEventArgs change)
    {
        if (change.ActivatedConfiguration is not null && change.ActivatedConfiguration != _configuration)
            _factory.Configuration = _configuration;
    }
}
