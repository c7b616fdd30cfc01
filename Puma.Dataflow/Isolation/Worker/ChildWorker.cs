using Microsoft.Extensions.Logging;
using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Calls;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>
/// The other end of an isolated stage: makes one instance of its user code and runs it, on one stream, as the parent says. Lives in a
/// child process, or in this one for loopback.
/// </summary>
/// <remarks>
/// The stream alone runs user code and reads the data connection. What comes by the control connection is handled by its pump, which
/// only sets bits, fires tokens and wakes the stream.
/// </remarks>
internal sealed class ChildWorker : IBodyStream
{
    /// <summary>How long what was logged may take to be sent at the end.</summary>
    private static readonly TimeSpan LogGrace = TimeSpan.FromSeconds(2);

    // Written by the stream while it starts.
    private readonly TimeProvider _time;
    private readonly StartRecord _start;
    private readonly FrameChannel _data;
    private readonly ResultWriter _results;
    private HostedCode _code = null!;
    private StageContext _context = null!;
    private InstanceControl _instance = null!;

    // 1 while a command or a tick runs in code with a body, which an emit beside the body may want to begin as well.
    private int _inCheckpoint;

    private ChildWorker(FrameChannel data, WorkerControl control, StartRecord start, TimeProvider time)
    {
        _data = data;
        _start = start;
        _time = time;
        Control = control;
        _results = new ResultWriter(data, start, control);
    }

    public WorkerControl Control { get; }

    /// <summary>Runs until the user code was told of the end, or the parent is gone.</summary>
    /// <param name="data">The data connection.</param>
    /// <param name="control">The control connection.</param>
    /// <param name="mark">Where the item in work is noted so that it can be read when the process is gone; null for nowhere.</param>
    /// <param name="ring">Where log records outlive it; null when there is no process of its own.</param>
    /// <param name="time">The clock of ticks.</param>
    public static async Task RunAsync(Stream data, Stream control, IWorkMark? mark, LogRing? ring, TimeProvider time)
    {
        var said = new WorkerControl(control, mark, ring);
        await using (said.ConfigureAwait(false))
        {
            said.Listen();
            if (await Task.WhenAny(said.Start, said.ParentGone).ConfigureAwait(false) != said.Start)
                return;
            StartRecord start = await said.Start.ConfigureAwait(false);

            // Errors travel there, too, however small the items are.
            var channel = new FrameChannel(data, Math.Max(start.MaxPayload, FrameFormat.MaxControl), said.Wake, said.Wake, ServedBy.ThreadOfReader);
            await using (channel.ConfigureAwait(false))
            {
                channel.Start();
                await new ChildWorker(channel, said, start, time).RunAsync().ConfigureAwait(false);

                // The parent closes the connections when it has read everything.
                await said.ParentGone.ConfigureAwait(false);
            }
        }
    }

    private async Task RunAsync()
    {
        if (!await TryStartAsync().ConfigureAwait(false))
            return;
        bool isCompleted = false;
        _instance.Lane.Enter();
        try
        {
            isCompleted = _code.HasBody
                ? await RunBodyAsync().ConfigureAwait(false)
                : await new ItemLoop(_start, _code, _context, _instance, _data, Control, _results).RunAsync().ConfigureAwait(false);
            await Control.Outputs.EmitsReturnedAsync().ConfigureAwait(false);
        }
        catch (Exception error)
        {
            bool isOurs = error is OperationCanceledException && (Control.IsDiscarding || (_code.HasBody && Control.IsStopping));
            _results.SendFailed(0, 0, error, isOurs ? FrameFlags.Canceled : FrameFlags.None);
        }

        _instance.Lane.Close(new CommandRefusal(CommandFailure.StageEnded, "the instance handles nothing more."));
        _results.SendOver(isCompleted);
        await EndAsync().ConfigureAwait(false);
    }

    private async Task<bool> TryStartAsync()
    {
        try
        {
            Func<IItemCodec>? makeCodec = (Func<IItemCodec>?)_start.Codec?.Resolve();
            var codecs = new ItemCodecs(makeCodec?.Invoke(), [.. _start.DerivedTypes.Select(DelegateIdentity.FindType)]) { MaxPayload = _start.MaxPayload };
            var ticks = new TickSchedule(_time, _start.TickInterval == 0 ? null : TimeSpan.FromTicks(_start.TickInterval), _start.TicksPaused, Control.RaiseControl);
            await Control.Logging.Ready.ConfigureAwait(false);
            ILogger logger = Control.Logging.CreateLogger(_start.LogCategory);
            Control.Logger = logger;
            if (_start.ItemTimeout > 0)
                Control.Item.Measure(new AttemptTime(_time, TimeSpan.FromTicks(_start.ItemTimeout)));
            Control.Logging.Context = _context = new StageContext(_start.Stage, _start.Instance, logger, _time, ticks, new ChildStatus(Control.Status, codecs, _time), Control.RequestFinish);
            _instance = MakeInstance(logger, codecs);
            var host = (HostMaker)_start.Host.Resolve();
            _code = host(ReadRecipe(host, codecs), new HostSetup(this, _start, codecs, _results, _time));
            await _code.StartAsync(_context, Control.DiscardToken).ConfigureAwait(false);
            _instance.Begin(_code, _context, Control.DiscardToken);
        }
        catch (Exception error)
        {
            Control.Status.SendAll(isLast: true);
            Control.Tell(FrameType.StartFailed, error);
            return false;
        }

        _results.EndStart();
        Control.Status.SendAll(isLast: false);
        Control.Say(FrameType.Started, number: _code.HandlesPacks ? 1 : 0);
        return true;
    }

    /// <summary>Makes what callers reach of the user code. Before the parent knows that there is any.</summary>
    private InstanceControl MakeInstance(ILogger logger, ItemCodecs codecs)
    {
        var server = new InstanceServer(Control.Logging.Sender.DrainAsync);
        InstanceControl? made = null;
        var calls = new CallConnection(Control.Channel, () => codecs, server, () => made?.Lane.IsCurrent == true);
        var instance = new InstanceControl(_start.Stage, _start.Instance, logger, watch: null, Control.RaiseControl, remote => server.TargetOf(calls, remote.Id));
        server.Instance = made = instance;
        Control.Calls = calls;
        _ = EndWithParentAsync(calls, instance);
        return instance;
    }

    /// <summary>User code that calls an object of the parent need not wait for an answer that cannot come.</summary>
    private async Task EndWithParentAsync(CallConnection calls, InstanceControl instance)
    {
        await Control.ParentGone.ConfigureAwait(false);
        calls.End(call => instance.Failed(call.Member.Name, CommandFailure.ProcessLost, "the process of the object's owner is gone.", null));
    }

    private Recipe ReadRecipe(HostMaker host, ItemCodecs codecs)
    {
        object? options = null;
        Type? type = _start.OptionsType is { } name ? DelegateIdentity.FindType(name) : null;
        if (type is not null)
        {
            var payload = new PayloadReader();
            payload.Reset(new System.Buffers.ReadOnlySequence<byte>(_start.Options), _start.OptionsHaveBlocks);
            options = codecs.ReadUntyped(type, payload);
        }

        return new Recipe(host, _start.Maker.Resolve(), _start.UserCode?.Resolve(), options, type, _start.Ports);
    }

    private async Task EndAsync()
    {
        await Task.WhenAny(Control.End, Control.ParentGone).ConfigureAwait(false);
        long begin = TimeProvider.System.GetTimestamp();
        _context.Ticks.End();
        Exception? failure = null;
        try
        {
            await _instance.EndLeasesAsync().ConfigureAwait(false);
            EndRecord? end = Control.End.IsCompletedSuccessfully ? await Control.End.ConfigureAwait(false) : null;
            await _code.EndAsync(end?.Outcome ?? RunState.Canceled, end?.Cause?.ToException()).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            failure = error;
        }

        // Before the last frame, so that the end is the end of the log, too, and no call that has run is left without its answer. What does not
        // get there soon is in the black box.
        await Task.WhenAny(Task.WhenAll(Control.Logging.Sender.DrainAsync(), Control.Calls!.WhenAnsweredAsync()), Task.Delay(LogGraceAfter(TimeSpan.FromTicks(_start.StopGrace), TimeProvider.System.GetElapsedTime(begin)), TimeProvider.System)).ConfigureAwait(false);
        Control.Status.SendAll(isLast: true);
        Control.Tell(FrameType.Ended, failure);
    }

    /// <summary>How long what was logged may take to be sent when the end has taken so long already: a log that is slow must not make the end too late.</summary>
    public static TimeSpan LogGraceAfter(TimeSpan stopGrace, TimeSpan elapsed)
    {
        if (stopGrace < TimeSpan.Zero)
            return LogGrace;
        TimeSpan left = (stopGrace / 2) - elapsed;
        return left <= TimeSpan.Zero ? TimeSpan.Zero : left < LogGrace ? left : LogGrace;
    }

    // ---- Code with a body. -----------------------------------------------------------------------------------------------------------

    /// <returns>True when the body has ended and was told that nothing more is wanted of it.</returns>
    private async Task<bool> RunBodyAsync()
    {
        while (!Control.Has(WorkerAttention.Begin) && !Control.IsStopping)
            await _results.WaitAsync().ConfigureAwait(false);
        if (Control.IsStopping)
            return false;
        try
        {
            await _code.ProduceAsync(Control.StopToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (Control.IsStopping)
        {
            // The body ended because it was asked to.
        }

        await Control.Outputs.EmitsReturnedAsync().ConfigureAwait(false);
        if (Control.IsDiscarding)
            return false;
        await _code.CompletedAsync(Control.DiscardToken).ConfigureAwait(false);
        return true;
    }

    /// <summary>Whether commands or a tick wait that an emit lets in. Only code with a body has them there; others have them between two items.</summary>
    public bool NeedsCheckpoint => Control.Has(WorkerAttention.Control) && Volatile.Read(ref _inCheckpoint) == 0 && _code is { HasBody: true };

    /// <summary>Runs the commands and the tick that wait in code with a body. The stream only.</summary>
    public async ValueTask CheckpointAsync()
    {
        if (!NeedsCheckpoint)
            return;

        // What runs there may emit; that emit must not run the next command or tick inside of this one.
        if (Interlocked.Exchange(ref _inCheckpoint, 1) != 0)
            return;
        try
        {
            Control.ClearControl();
            await _instance.CheckpointAsync().ConfigureAwait(false);
        }
        finally
        {
            Volatile.Write(ref _inCheckpoint, 0);
        }
    }

    CancellationToken IBodyStream.StopToken => Control.StopToken;

    bool IBodyStream.IsInCheckpoint => Volatile.Read(ref _inCheckpoint) != 0;

    ValueTask IBodyStream.WaitAsync() => _results.WaitAsync();

    void IBodyStream.Wake() => Control.Wake();

    /// <summary>Waits until the code is asked to end; runs its commands and ticks meanwhile. The stream only.</summary>
    public async ValueTask WaitForStopAsync()
    {
        while (!Control.IsStopping)
        {
            await CheckpointAsync().ConfigureAwait(false);
            if (!Control.IsStopping)
                await _results.WaitAsync().ConfigureAwait(false);
        }
    }
}
