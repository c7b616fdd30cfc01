using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Runnables;

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

    // Set by the stream when the instance has started.
    private IControlledCode? _code;
    private StageContext? _context;
    private CancellationToken _discardToken;

    // Set by the stream when leases end with the instance, before they do.
    private volatile bool _hasEndedLeases;

    // What is left when the lane takes nothing more: each goes behind the one before. Guarded by _restGate.
    private readonly Lock _restGate = new();
    private Task _rest = Task.CompletedTask;

    /// <param name="stage">The stage.</param>
    /// <param name="index">Which of its instances.</param>
    /// <param name="logger">Where failures go that no caller takes.</param>
    /// <param name="watch">Times the calls of callers in this process.</param>
    /// <param name="wake">Makes the stream look at the lane.</param>
    /// <param name="given">Makes a target of an object that was given to the instance from elsewhere; null when callers are in this process.</param>
    public InstanceControl(string stage, int index, ILogger logger, CallWatch? watch, Action wake, Func<IRemoteReference, ControlTarget>? given = null)
    {
        (_stage, _index, _logger, Watch) = (stage, index, logger, watch);
        Lane = new CommandLane(wake);
        Steps = new LaneContext(this);
        Outside = new LendingSide(Given, remote => new InstanceTarget(this, remote.Id));
        Inside = new LendingSide(Lent, given ?? (remote => new GivenTarget(this, remote.Id)), Steps);
    }

    public const string LeaseHasEnded = "the lease of the object has ended.";

    public CommandLane Lane { get; }

    /// <summary>Times the calls of callers in this process; null when they are elsewhere.</summary>
    public CallWatch? Watch { get; }

    /// <summary>Objects of the instance, lent to callers. Their leases end with the instance at the latest.</summary>
    public LentObjects Lent { get; } = new();

    /// <summary>Objects of callers of this process, lent to the instance.</summary>
    public LentObjects Given { get; } = new();

    /// <summary>By which callers lend and borrow.</summary>
    public LendingSide Outside { get; }

    /// <summary>By which the instance lends and borrows.</summary>
    public LendingSide Inside { get; }

    /// <summary>Where streams go on after a wait: on this instance's stream.</summary>
    public LaneContext Steps { get; }

    /// <summary>Whether its leases have ended because the instance does.</summary>
    public bool HasEndedLeases => _hasEndedLeases;

    public bool HasBegun => Volatile.Read(ref _code) is not null;

    // ---- The stream's. ---------------------------------------------------------------------------------------------------------------

    /// <summary>Lets commands in, from the next checkpoint on.</summary>
    public void Begin(IControlledCode code, StageContext context, CancellationToken discardToken)
    {
        (_context, _discardToken) = (context, discardToken);
        // What the start left running is a caller like others.
        Lane.Leave();
        Volatile.Write(ref _code, code);
        context.Ticks.Start();
    }

    /// <summary>Whether commands wait or a tick is due. A tick that is not due yet is asked for again.</summary>
    public bool IsCheckpointDue => Lane.Count > 0 || _context!.Ticks.IsDue();

    /// <summary>Runs the commands that wait, in order of arrival, and then the tick that is due. Those that come meanwhile are for the next checkpoint.</summary>
    public async ValueTask CheckpointAsync()
    {
        for (int left = Lane.Count; left > 0 && !_discardToken.IsCancellationRequested && Lane.TryTake(out Command? command); left--)
            await _code!.RunCommandAsync(command, this, _discardToken).OnOwnStackAsync().ConfigureAwait(false);
        if (!_discardToken.IsCancellationRequested && _context!.Ticks.TryTake())
            await _code!.TickAsync(_discardToken).OnOwnStackAsync().ConfigureAwait(false);
    }

    /// <summary>Disposes what the instance still lends. Before the end of its runnable.</summary>
    public ValueTask EndLeasesAsync()
    {
        _hasEndedLeases = true;
        IAsyncDisposable[] left = [.. Lent.TakeAll(), .. Given.TakeAll()];
        if (left.Length == 0)
            return default;

        // It shares the turns with what is left of enumerations: their ends wait for each other, and nothing of them runs beside another.
        var end = new EndOfLeases(this, left);
        RunRest(end);
        return new ValueTask(end.Ended);
    }

    // ---- What the calls need. --------------------------------------------------------------------------------------------------------

    /// <summary>Takes a command: it waits for the next checkpoint, unless the instance's own user code gives it, which must not wait for itself.</summary>
    public void Take(Command command)
    {
        // Before the mark: who sees the code sees, too, that what the start left running is marked no longer.
        IControlledCode? code = Volatile.Read(ref _code);
        if (!Lane.IsCurrent)
            Lane.Add(command);
        else if (code is null)
            command.Refuse(new(CommandFailure.NotServed, "it was called by its own start, which it would wait for. Call the method itself there."));
        else if (Lane.TryBegin(command))
            Own(code.RunCommandAsync(command, this, _discardToken));
    }

    /// <summary>Runs a command for which the instance's own user code waits, by way of another object. Any thread.</summary>
    public void TakeNested(Command command) => Own(new ValueTask(Task.Run(async () =>
    {
        Lane.Enter();
        if (Lane.TryBegin(command))
            await _code!.RunCommandAsync(command, this, _discardToken).ConfigureAwait(false);
    })));

    /// <summary>Runs what the lane takes no more, behind what came here before. Any thread.</summary>
    public void RunRest(Command command)
    {
        lock (_restGate)
            _rest = RunBehindAsync(_rest, command);
    }

    // It yields first, so that nothing runs under the lock, and never fails, as commands do not.
    private async Task RunBehindAsync(Task before, Command command)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        await _code!.RunCommandAsync(command, this, CancellationToken.None).ConfigureAwait(false);
    }

    /// <summary>The object that serves an interface; null when there is none.</summary>
    public TControl? Find<TControl>(ControlMember member, long lent, Runnable runnable)
        where TControl : class
    {
        if (lent != 0)
            return (member.EndsLease ? Lent.Take(lent) : Lent.Find(lent)) as TControl;
        return typeof(TControl) == typeof(ITickControl) ? (TControl)(object)new InstanceTicks(_context!.Ticks) : runnable as TControl;
    }

    public string WhyNotServed<TControl>(long lent, Runnable runnable) => lent != 0
        ? LeaseHasEnded
        : $"its {runnable.GetType().Name} does not implement {typeof(TControl).Name}.";

    /// <summary>Ends the lease of an object that nobody has got. The stream only.</summary>
    public ValueTask EndLeaseAsync(long id) => Lent.Take(id)?.DisposeAsync() ?? default;

    /// <summary>Disposes what was lent to the instance too late: the end of its leases did not see it. Any thread.</summary>
    public void DisposeLate()
    {
        if (!_hasEndedLeases)
            return;
        foreach (IAsyncDisposable late in Given.TakeAll())
            Own(RemoteLease.End.Name, Task.Run(() => late.DisposeAsync().AsTask()));
    }

    public CommandFailedException Failed(string member, CommandFailure failure, string? reason, Exception? cause) =>
        new(_stage, _index, member, failure, reason, cause);

    public void LogLateFailure(string member, Exception error) => Log.LateCallFailed(_logger, member, _stage, ExceptionText.MessageOf(error), error);

    /// <summary>Sees to the failure of what goes on for a member beside the stream.</summary>
    public void Own(string member, Task running) => _ = OwnAsync(member, running);

    public void Own(ValueTask running) => Own(RemoteLease.End.Name, running.AsTask());

    private async Task OwnAsync(string member, Task running)
    {
        try
        {
            await running.ConfigureAwait(false);
        }
        catch (Exception error)
        {
            LogLateFailure(member, error);
        }
    }

    /// <summary>Disposes the objects whose leases end with the instance, one after another. A wait of one lets in what it waits for.</summary>
    private sealed class EndOfLeases(InstanceControl control, IAsyncDisposable[] left) : Command
    {
        private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Ended => _ended.Task;

        public override ValueTask RunAsync(InstanceControl instance, Runnable runnable, CancellationToken cancellationToken)
        {
            instance.Own(instance.Steps.Run(EndAsync));
            return default;
        }

        private async ValueTask EndAsync()
        {
            foreach (IAsyncDisposable lent in left)
            {
                try
                {
                    await lent.DisposeAsync().ConfigureAwait(true);
                }
                catch (Exception error)
                {
                    control.LogLateFailure(RemoteLease.End.Name, error);
                }
            }

            _ended.SetResult();
        }

        /// <summary>There is no runnable: what is left is disposed here.</summary>
        public override void Refuse(CommandRefusal refusal) => control.Own(RunAsync(control, null!, CancellationToken.None));
    }
}
