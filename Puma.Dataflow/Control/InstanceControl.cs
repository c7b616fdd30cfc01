using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Control;

/// <summary>
/// What callers reach of one instance: its lane of commands, the objects that it lends and those that it was given. Its stream runs what
/// waits at each checkpoint. Safe for any thread, but for what is said to be the stream's.
/// </summary>
internal sealed class InstanceControl
{
    private readonly string _stage;
    private readonly int _index;
    private readonly ILogger _logger;

    // Objects of callers, lent to the instance. They stay their owners'.
    private readonly LentObjects _given = new();

    // Set by the stream when the instance has started.
    private IControlledCode? _code;
    private StageContext? _context;
    private CancellationToken _discardToken;

    /// <param name="stage">The stage.</param>
    /// <param name="index">Which of its instances.</param>
    /// <param name="logger">Where failures go that no caller takes.</param>
    /// <param name="watch">Times the calls of callers in this process.</param>
    /// <param name="wake">Makes the stream look at the lane.</param>
    /// <param name="given">Makes a target of an object that was given to the instance from elsewhere; null when callers are in this process.</param>
    public InstanceControl(string stage, int index, ILogger logger, CallWatch watch, Action wake, Func<long, ControlTarget>? given = null)
    {
        (_stage, _index, _logger, Watch) = (stage, index, logger, watch);
        Lane = new CommandLane(wake);
        Steps = new LaneContext(this);
        Outside = new LendingSession(_given, id => new InstanceTarget(this, id));
        Inside = new LendingSession(Lent, given ?? (id => new GivenTarget(this, id)), Steps);
    }

    public CommandLane Lane { get; }

    public CallWatch Watch { get; }

    /// <summary>Objects of the instance, lent to callers. Each is disposed with its lease, at the latest with the instance.</summary>
    public LentObjects Lent { get; } = new();

    /// <summary>By which callers lend and borrow.</summary>
    public ControlSession Outside { get; }

    /// <summary>By which the instance lends and borrows.</summary>
    public ControlSession Inside { get; }

    /// <summary>Where streams go on after a wait: on this instance's stream.</summary>
    public LaneContext Steps { get; }

    // ---- The stream's. ---------------------------------------------------------------------------------------------------------------

    /// <summary>Lets commands in, from the next checkpoint on.</summary>
    public void Begin(IControlledCode code, StageContext context, CancellationToken discardToken)
    {
        (_context, _discardToken) = (context, discardToken);
        Volatile.Write(ref _code, code);
        context.Ticks.Start();
    }

    /// <summary>Whether commands wait or a tick is due. A tick that is not due yet is asked for again.</summary>
    public bool IsCheckpointDue => Lane.Count > 0 || _context!.Ticks.IsDue();

    /// <summary>Runs the commands that wait, in order of arrival, and then the tick that is due. Those that come meanwhile are for the next checkpoint.</summary>
    public async ValueTask CheckpointAsync()
    {
        for (int left = Lane.Count; left > 0 && !_discardToken.IsCancellationRequested && Lane.TryTake(out Command? command); left--)
            await _code!.RunCommandAsync(command, this, _discardToken).ConfigureAwait(false);
        if (!_discardToken.IsCancellationRequested && _context!.Ticks.TryTake())
            await _code!.TickAsync(_discardToken).ConfigureAwait(false);
    }

    /// <summary>Disposes what the instance still lends. Before the end of its runnable.</summary>
    /// <returns>What that threw.</returns>
    public async ValueTask<IReadOnlyList<Exception>> EndLeasesAsync()
    {
        _given.TakeAll();
        IAsyncDisposable[] left = Lent.TakeAll();
        if (left.Length == 0)
            return [];
        var end = new EndOfLeases(left);
        await _code!.RunCommandAsync(end, this, default).ConfigureAwait(false);
        return end.Errors;
    }

    // ---- What the calls need. --------------------------------------------------------------------------------------------------------

    /// <summary>Runs a command that the instance's own user code gives: it must not wait for itself.</summary>
    public ValueTask RunAtOnceAsync(Command command) => _code!.RunCommandAsync(command, this, _discardToken);

    /// <summary>The object that serves an interface; null when there is none.</summary>
    public TControl? Find<TControl>(ControlMember member, long lent, Runnable runnable)
        where TControl : class
    {
        if (lent != 0)
            return (member.EndsLease ? Lent.Take(lent) : Lent.Find(lent)) as TControl;
        return typeof(TControl) == typeof(ITickControl) ? (TControl)(object)new InstanceTicks(_context!.Ticks) : runnable as TControl;
    }

    public string WhyNotServed<TControl>(long lent, Runnable runnable) => lent != 0
        ? "the lease of the object has ended."
        : $"its {runnable.GetType().Name} does not implement {typeof(TControl).Name}.";

    public IAsyncDisposable? FindGiven(long id) => _given.Find(id);

    public void ForgetGiven(long id) => _given.Take(id);

    /// <summary>Ends the lease of an object that nobody has got. The stream only.</summary>
    public ValueTask TakeBackAsync(long id) => Lent.Take(id)?.DisposeAsync() ?? default;

    public CommandFailedException Failed(string member, CommandFailure failure, string? reason, Exception? cause) =>
        new(_stage, _index, member, failure, reason, cause);

    public void LogLateFailure(string member, Exception error) => Log.LateCallFailed(_logger, member, _stage, error.Message, error);

    /// <summary>Sees to the failures of what goes on beside the stream.</summary>
    public void Own(ValueTask running) => _ = OwnAsync(running);

    private async Task OwnAsync(ValueTask running)
    {
        try
        {
            await running.ConfigureAwait(false);
        }
        catch (Exception error)
        {
            LogLateFailure(nameof(IAsyncDisposable), error);
        }
    }

    /// <summary>Disposes the objects whose leases end with the instance.</summary>
    private sealed class EndOfLeases(IAsyncDisposable[] left) : Command
    {
        public List<Exception> Errors { get; } = [];

        public override async ValueTask RunAsync(InstanceControl instance, Runnable runnable, CancellationToken cancellationToken)
        {
            foreach (IAsyncDisposable lent in left)
            {
                try
                {
                    await lent.DisposeAsync().ConfigureAwait(true);
                }
                catch (Exception error)
                {
                    Errors.Add(error);
                }
            }
        }

        public override void Refuse(CommandFailure failure, string reason, Exception? cause) =>
            throw new InvalidOperationException("This command never waits in a lane.");
    }
}
