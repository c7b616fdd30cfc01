using NLog;
using NLog.Config;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>NLog in a process that is a child: its one target hands everything to the parent, and its rules are what the parent wants.</summary>
internal sealed class ChildNLog : IDisposable
{
    private const int MaxDepth = 10;

    private readonly ChildLevels _levels;
    private readonly ForwardingTarget _target;
    private readonly LoggingConfiguration _configuration = new(LogManager.LogFactory);

    // How many configurations of user code this thread is taking out, each set by code that was told of the one before.
    [ThreadStatic]
    private static int s_depth;

    public ChildNLog(ChildLogging logging)
    {
        _levels = logging.Levels;
        _target = new ForwardingTarget(logging);
        SetRules();
        LogManager.Configuration = _configuration;
        LogManager.ConfigurationChanged += KeepConfiguration;
        _levels.Changed += OnLevelsChanged;
        OnLevelsChanged();
    }

    /// <summary>Adds the scopes that were begun by NLog itself.</summary>
    public static void ReadScopes(List<KeyValuePair<string, object?>> properties, List<string> texts)
    {
        foreach ((string key, object? value) in ScopeContext.GetAllProperties())
            LogScopes.Set(properties, key, value);
        object[] states = ScopeContext.GetAllNestedStates();
        for (int i = states.Length - 1; i >= 0; i--)
            texts.Add(LogValue.TextOf(states[i]));
    }

    public void Dispose()
    {
        _levels.Changed -= OnLevelsChanged;
        LogManager.ConfigurationChanged -= KeepConfiguration;
    }

    private void OnLevelsChanged()
    {
        SetRules();
        LogManager.ReconfigExistingLoggers();
    }

    private void SetRules()
    {
        lock (_configuration.LoggingRules)
        {
            _configuration.LoggingRules.Clear();
            foreach ((string category, int level) in _levels.ByCategory)
            {
                // A rule takes stars as patterns.
                if (category.AsSpan().ContainsAny('*', '?'))
                    continue;
                var rule = new LoggingRule(category) { LoggerNamePattern = category, FinalMinLevel = LogLevel.FromOrdinal(level) };
                rule.Targets.Add(_target);
                _configuration.LoggingRules.Add(rule);
            }

            _configuration.AddRule(LogLevel.FromOrdinal(_levels.Least), LogLevel.Fatal, _target);
        }
    }

    /// <summary>User code that configures NLog means the program's own process. Its rules are taken out again, whether it has set a configuration or added to this one.</summary>
    private void KeepConfiguration(object? sender, LoggingConfigurationChangedEventArgs change)
    {
        if (Environment.HasShutdownStarted)
            return;
        if (change.ActivatedConfiguration == _configuration)
        {
            OnLevelsChanged();
            return;
        }

        // Code that sets its own again whenever it is told of another would have no end.
        if (s_depth == MaxDepth)
            return;
        s_depth++;
        try
        {
            // This is told of, too.
            LogManager.Configuration = _configuration;
        }
        finally
        {
            s_depth--;
        }
    }
}
