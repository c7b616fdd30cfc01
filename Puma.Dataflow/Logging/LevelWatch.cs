using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>Tells a child which levels the application's logging wants, and again when that changes. Asks on a stream of its own, for the answer may take its time.</summary>
/// <param name="sink">What is asked.</param>
/// <param name="category">The category of the child's user code.</param>
/// <param name="onFailed">Is told when the application's logging throws.</param>
internal sealed class LevelWatch(LogSink sink, string category, Action<Exception> onFailed) : IAsyncDisposable
{
    /// <summary>How often the levels are looked at.</summary>
    private static readonly TimeSpan LookPeriod = TimeSpan.FromMilliseconds(250);

    private readonly CancellationTokenSource _closing = new();

    // Any thread writes; the stream reads.
    private readonly Channel<string> _newCategories = Channel.CreateUnbounded<string>(new() { SingleReader = true });

    // Whoever begins and ends it.
    private Task _stream = Task.CompletedTask;

    // The stream's own.
    private readonly Dictionary<string, LogLevel> _levels = new(StringComparer.Ordinal);
    private LogLevel _least;
    private bool _wantsCallSite;

    private static TimeProvider Clock => TimeProvider.System;

    /// <summary>Begins.</summary>
    /// <param name="tell">Tells the child; called by the stream.</param>
    /// <returns>Ends when the child was told for the first time.</returns>
    public Task BeginAsync(Action<LogLevels> tell)
    {
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _stream = Task.Run(() => WatchAsync(tell, told));
        return told.Task;
    }

    /// <summary>The child logs in a category for the first time. Any thread.</summary>
    public void Add(string newCategory) => _newCategories.Writer.TryWrite(newCategory);

    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync().ConfigureAwait(false);
        await _stream.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task WatchAsync(Action<LogLevels> tell, TaskCompletionSource told)
    {
        _levels[category] = LeastOf(category);
        (_least, _wantsCallSite) = (Ask(() => sink.Least, LogLevel.Trace), Ask(() => sink.WantsCallSite, false));
        Tell([.. _levels], tell);
        told.SetResult();
        for (long looked = Clock.GetTimestamp(); ;)
        {
            TimeSpan left = LookPeriod - Clock.GetElapsedTime(looked);
            if (left > TimeSpan.Zero)
                await Task.WhenAny(_newCategories.Reader.WaitToReadAsync(_closing.Token).AsTask(), Task.Delay(left, Clock, _closing.Token)).ConfigureAwait(false);
            if (_closing.IsCancellationRequested)
                return;
            List<KeyValuePair<string, LogLevel>> changed = [];
            while (_newCategories.Reader.TryRead(out string? added))
            {
                if (_levels.Count < LogLevels.MaxCategories && _levels.TryAdd(added, LeastOf(added)))
                    changed.Add(new(added, _levels[added]));
            }

            if (Clock.GetElapsedTime(looked) >= LookPeriod)
            {
                changed.AddRange(_levels.Select(l => new KeyValuePair<string, LogLevel>(l.Key, LeastOf(l.Key))).Where(l => l.Value != _levels[l.Key]));
                looked = Clock.GetTimestamp();
            }

            foreach ((string name, LogLevel level) in changed)
                _levels[name] = level;
            LogLevel least = Ask(() => sink.Least, _least);
            bool wantsCallSite = Ask(() => sink.WantsCallSite, _wantsCallSite);
            if (changed.Count == 0 && least == _least && wantsCallSite == _wantsCallSite)
                continue;
            (_least, _wantsCallSite) = (least, wantsCallSite);
            Tell(changed, tell);
        }
    }

    private LogLevel LeastOf(string name) => Ask(() => sink.LeastOf(name), LogLevel.Trace);

    /// <summary>Asks the application's logging something.</summary>
    private T Ask<T>(Func<T> question, T otherwise)
    {
        try
        {
            return question();
        }
        catch (Exception error)
        {
            onFailed(error);
            return otherwise;
        }
    }

    private void Tell(List<KeyValuePair<string, LogLevel>> levels, Action<LogLevels> tell)
    {
        // A frame holds so many names, whatever their length.
        foreach (KeyValuePair<string, LogLevel>[] some in levels.Chunk(100).DefaultIfEmpty([]))
            tell(new LogLevels(_least, _wantsCallSite, some));
    }
}
