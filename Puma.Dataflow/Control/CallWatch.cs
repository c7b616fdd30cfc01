using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Control;

/// <summary>Times the calls to one stage: ends those that take too long, and warns once per member of calls that are slow or too many. Any thread.</summary>
internal sealed class CallWatch(string stage, ILogger logger, PipelineOptions options)
{
    private readonly ConcurrentDictionary<string, Member> _members = [];

    /// <summary>Begins a call. Disposed when it has ended.</summary>
    /// <param name="member">The member.</param>
    /// <param name="hasBegun">Whether the instance has; else the call waits for it and is not slow.</param>
    /// <param name="cancellationToken">The caller's.</param>
    /// <returns>Null for a member that nobody times.</returns>
    public WatchedCall? Begin(ControlMember member, bool hasBegun, CancellationToken cancellationToken)
    {
        if (!member.IsWatched)
            return null;
        Member seen = _members.GetOrAdd(member.Name, static (name, of) => new Member(name, of.stage, of.logger, of.options), (stage, logger, options));
        if (options.ChattyCallWarning is { } limit)
            seen.Count(limit);
        return new WatchedCall(seen, hasBegun, cancellationToken);
    }

    /// <summary>What is known of one member.</summary>
    internal sealed class Member(string name, string stage, ILogger logger, PipelineOptions options)
    {
        private readonly Lock _gate = new();

        // Guarded by _gate.
        private long _secondBegan;
        private int _inSecond;

        // Set once, by any thread.
        private int _hasWarnedOfSlow;
        private int _hasWarnedOfChatty;

        public PipelineOptions Options => options;

        public bool IsSlowNews => Volatile.Read(ref _hasWarnedOfSlow) == 0 && options.SlowCallWarning != Timeout.InfiniteTimeSpan;

        public string WhyTimedOut(bool? hasBegun) => $"it took longer than CallTimeout ({options.CallTimeout}). " + hasBegun switch
        {
            true => "The member had begun: its token has fired, but it may still run.",
            false => "The member had not begun, and never runs.",
            null => "Whether the member had begun is not known here: if so, its token fires, but it may still run.",
        };

        public void Count(int limit)
        {
            lock (_gate)
            {
                long now = options.TimeProvider.GetTimestamp();
                if (_inSecond == 0 || options.TimeProvider.GetElapsedTime(_secondBegan, now) >= TimeSpan.FromSeconds(1))
                    (_secondBegan, _inSecond) = (now, 0);
                if (++_inSecond <= limit)
                    return;
            }

            if (Interlocked.Exchange(ref _hasWarnedOfChatty, 1) == 0)
                Log.ChattyCalls(logger, name, stage, limit);
        }

        public void WarnOfSlow(bool? hasBegun)
        {
            if (Interlocked.Exchange(ref _hasWarnedOfSlow, 1) == 0)
                Log.SlowCall(logger, name, stage, options.SlowCallWarning, hasBegun switch { true => "it runs", false => "it waits for its turn", null => "it runs or waits for its turn" });
        }
    }
}

/// <summary>One call under way. Its caller's.</summary>
internal sealed class WatchedCall : IDisposable
{
    private readonly CallWatch.Member _member;
    private readonly ITimer? _slow;
    private readonly CancellationTokenSource? _source;
    private readonly CancellationTokenRegistration _caller;

    public WatchedCall(CallWatch.Member member, bool hasBegun, CancellationToken cancellationToken)
    {
        _member = member;
        Token = cancellationToken;
        PipelineOptions options = member.Options;
        if (hasBegun && member.IsSlowNews)
            _slow = options.TimeProvider.CreateTimer(static state => ((WatchedCall)state!).WarnOfSlow(), this, options.SlowCallWarning, Timeout.InfiniteTimeSpan);
        if (options.CallTimeout is { } timeout)
        {
            _source = new CancellationTokenSource(timeout, options.TimeProvider);
            _caller = cancellationToken.UnsafeRegister(static state => ((CancellationTokenSource)state!).Cancel(), _source);
            Token = _source.Token;
        }
    }

    /// <summary>Fires when the caller gives up, or the time is over.</summary>
    public CancellationToken Token { get; }

    /// <summary>The call, once it is on its way.</summary>
    public IPendingCall? Call { private get; set; }

    public string WhyTimedOut => _member.WhyTimedOut(Call!.HasBegun);

    private void WarnOfSlow() => _member.WarnOfSlow(Call is { } call ? call.HasBegun : false);

    public void Dispose()
    {
        _caller.Dispose();
        _slow?.Dispose();
        _source?.Dispose();
    }
}
