using System.Collections.Concurrent;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>From which level on each category of a child is logged, as its parent wants it. Levels are the ordinals that NLog and <c>ILogger</c> share. Any thread.</summary>
internal sealed class ChildLevels(FrameChannel control)
{
    private const int MaxCategory = 1024;

    private readonly ConcurrentDictionary<string, int> _levels = new(StringComparer.Ordinal);
    private volatile int _least;
    private int _count;
    private volatile bool _wantsCallSite;

    /// <summary>The parent wants something else from now on. Comes from the pump of the control connection.</summary>
    public event Action? Changed;

    public bool WantsCallSite => _wantsCallSite;

    /// <summary>What holds for a category that is not known.</summary>
    public int Least => _least;

    public IEnumerable<KeyValuePair<string, int>> ByCategory => _levels;

    /// <summary>Whether a record is wanted. The first one of a category asks the parent what is.</summary>
    public bool Wants(string category, int level)
    {
        if (_levels.TryGetValue(category, out int least))
            return level >= least;
        if (Volatile.Read(ref _count) < LogLevels.MaxCategories && _levels.TryAdd(category, _least))
        {
            Interlocked.Increment(ref _count);
            var fields = new FieldWriter();
            fields.Text(category, MaxCategory);
            control.Write(FrameType.LogCategory, payload: fields.Written);
            control.Flush();
        }

        return level >= _least;
    }

    public void Set(LogLevels wanted)
    {
        _wantsCallSite = wanted.WantsCallSite;
        _least = (int)wanted.Least;
        foreach ((string category, Microsoft.Extensions.Logging.LogLevel level) in wanted.Categories)
            _levels[category] = (int)level;
        Changed?.Invoke();
    }
}
