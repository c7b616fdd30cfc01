using System.Collections.Concurrent;
using NLog;
using NLog.Config;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>From which level on each category of a child is logged: what the parent wants, as rules of the child's NLog. Any thread.</summary>
internal sealed class ChildLevels(FrameChannel control, LogFactory factory)
{
    private const int MaxCategory = 1024;

    private readonly ConcurrentDictionary<string, int> _levels = new(StringComparer.Ordinal);
    private volatile int _least;
    private volatile bool _wantsCallSite;

    // Written once, before anything is logged or wanted.
    private LoggingConfiguration _configuration = null!;
    private ForwardingTarget _target = null!;

    public bool WantsCallSite => _wantsCallSite;

    /// <summary>Makes the target the only one of the child.</summary>
    public LoggingConfiguration Configure(ForwardingTarget target)
    {
        _target = target;
        _configuration = new LoggingConfiguration(factory);
        _configuration.AddRule(LevelOf(_least), NLog.LogLevel.Fatal, target);
        return _configuration;
    }

    /// <summary>Whether a record is wanted. The first one of a category asks the parent what is.</summary>
    public bool Wants(string category, int level)
    {
        if (_levels.TryGetValue(category, out int least))
            return level >= least;
        if (_levels.TryAdd(category, _least))
        {
            var fields = new FieldWriter();
            fields.Text(category, MaxCategory);
            control.Write(FrameType.LogCategory, payload: fields.Written);
            control.Flush();
        }

        return level >= _least;
    }

    /// <summary>The parent wants something else from now on.</summary>
    public void Set(LogLevels wanted)
    {
        _wantsCallSite = wanted.WantsCallSite;
        _least = (int)wanted.Least;
        foreach ((string category, Microsoft.Extensions.Logging.LogLevel level) in wanted.Categories)
            _levels[category] = (int)level;
        lock (_configuration.LoggingRules)
        {
            _configuration.LoggingRules.Clear();
            foreach ((string category, int level) in _levels)
            {
                // A rule takes stars as patterns.
                if (category.AsSpan().ContainsAny('*', '?'))
                    continue;
                var rule = new LoggingRule(category) { LoggerNamePattern = category, FinalMinLevel = LevelOf(level) };
                rule.Targets.Add(_target);
                _configuration.LoggingRules.Add(rule);
            }

            _configuration.AddRule(LevelOf(_least), NLog.LogLevel.Fatal, _target);
        }

        factory.ReconfigExistingLoggers();
    }

    private static NLog.LogLevel LevelOf(int level) => NLog.LogLevel.FromOrdinal(level);
}
