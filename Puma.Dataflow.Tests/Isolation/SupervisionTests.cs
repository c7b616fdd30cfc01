using Microsoft.Extensions.Logging.Abstractions;
using Puma.Dataflow.Isolation;
using Puma.Dataflow.Isolation.Calls;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Logging;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>A child as its stage sees it, with the test in the child's place.</summary>
public sealed class SupervisionTests
{
    private readonly Body _body = new();
    private readonly Owner _owner = new();
    private readonly StatusBoard _board = new();
    private readonly ChildLog _log = new(LogSink.Of(NullLoggerFactory.Instance), NullLogger.Instance, "stage", "category", static _ => { });

    [Theory] // S37: user code may close a connection that is not its own
    [InlineData(true)]
    [InlineData(false)]
    public async Task AChildThatLosesOneConnection_IsKilled(bool isData)
    {
        await using Child child = await StartAsync();

        await (isData ? _body.Far.Data : _body.Far.Control).DisposeAsync();

        ChildExit exit = await child.Exited.Within();
        Assert.Equal(ChildExitReason.ProtocolViolated, exit.Reason);
        await _owner.WokenUntilAsync(() => !child.TryPeek(out _) && child.HasEnded);
    }

    [Fact]
    public async Task AChildThatIsDisposedOf_IsNotKilled_AndItsOwnerIsDisposed()
    {
        Child child = await StartAsync();
        Assert.False(_owner.IsDisposed);

        await child.DisposeAsync().Within();

        Assert.Equal(ChildExitReason.Stopped, (await child.Exited.Within()).Reason);
        Assert.True(_owner.IsDisposed);
    }

    [Fact] // S36: the next item must not pay for one that has been answered
    public async Task AHandlerThatHasReturnedByNow_IsNoReasonToKill()
    {
        await using Child child = await StartAsync();

        _body.ItemInWork = 6;
        child.KillOverdue(5, "too late");
        Assert.False(child.Exited.IsCompleted);
        Assert.Null(child.OverdueItem);

        child.KillOverdue(6, "too late");
        ChildExit exit = await child.Exited.Within();
        Assert.Equal((ChildExitReason.Hung, "too late"), (exit.Reason, exit.Description));
        Assert.Equal(6, child.OverdueItem);
    }

    [Fact] // S43
    public async Task AReport_IsOnTheBoard_AndItsOwnerIsWoken()
    {
        await using Child child = await StartAsync(static control =>
        {
            control.Write(FrameType.StatusType, 0, Name("System.Int32"));
            control.Write(FrameType.Status, 3, Report(42));
        });
        await _owner.WokenUntilAsync(() => child.HasReported(3));

        Assert.Equal(42, _board.Latest<int>(0)!.Value);
        Assert.False(child.HasReported(4));
        child.Kill(ChildExitReason.Killed);
        await _owner.WokenUntilAsync(() => child.HasReported(4));
        Assert.Null(child.Violation);
    }

    [Fact] // S40
    public async Task AReportOfNoType_EndsTheChild()
    {
        await using Child child = await StartAsync(static control => control.Write(FrameType.Status, 1, Report(42)));

        Assert.Equal(ChildExitReason.ProtocolViolated, (await child.Exited.Within()).Reason);
        await _owner.WokenUntilAsync(() => child.HasReported(1));
        Assert.Contains("a report of type 0 without its name", child.Violation!.Message, StringComparison.Ordinal);
    }

    private static byte[] Name(string type)
    {
        var fields = new FieldWriter();
        fields.Text(type);
        return fields.Written.ToArray();
    }

    private static byte[] Report(int value)
    {
        var fields = new FieldWriter();
        new StatusRecord(0, 0, new System.Buffers.ReadOnlySequence<byte>(BitConverter.GetBytes(value))).WriteTo(fields);
        return fields.Written.ToArray();
    }

    private async Task<Child> StartAsync(Action<FrameChannel>? then = null)
    {
        Task<Child> starting = Child.StartAsync(_body, Record(), _owner, _log, new StatusReceiver(new ItemCodecs(null, []), _board, 0, static error => Assert.Fail(error.Message)), Waiting.Limit, TestContext.Current.CancellationToken);
        await using var control = new FrameChannel(_body.Far.Control, 1024, static () => { });
        control.Start();
        control.Write(FrameType.Started);
        then?.Invoke(control);
        control.Flush();
        return await starting.Within();
    }

    private static StartRecord Record() => new()
    {
        Stage = "stage",
        Instance = 0,
        Retries = 0,
        FaultsAtError = true,
        TellsItems = false,
        OwnThread = false,
        TickInterval = 0,
        TicksPaused = false,
        Credits = [1],
        MaxPayload = 1024,
        BurstLength = 32,
        LogCategory = "category",
        Host = DelegateIdentity.Of(Record),
        Maker = DelegateIdentity.Of(Record),
    };

    /// <summary>A child that does nothing and ends when it is killed, or let go of.</summary>
    private sealed class Body : IChildBody
    {
        private readonly TaskCompletionSource<ChildExit> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Body()
        {
            (Data, DuplexStream data) = DuplexStream.CreatePair();
            (Control, DuplexStream control) = DuplexStream.CreatePair();
            Far = (data, control);
        }

        public (DuplexStream Data, DuplexStream Control) Far { get; }

        public int ProcessId => 1;

        public Stream Data { get; }

        public Stream Control { get; }

        public Task<ChildExit> Exited => _exited.Task;

        public bool IsEnding => Exited.IsCompleted;

        public LastLog ReadLogAfter(long number) => LastLog.None;

        public long ItemInWork { get; set; }

        public void Exit(ChildExitReason reason) => _exited.TrySetResult(new ChildExit(1, reason, 0, null, "", ""));

        public void ExpectStop() { }

        public void Terminate(ChildExitReason because) { }

        public void Kill(ChildExitReason because, string? why = null)
        {
            _exited.TrySetResult(new ChildExit(1, because, 0, null, why ?? "", ""));
            foreach (Stream stream in (Stream[])[Data, Control, Far.Data, Far.Control])
                stream.Dispose();
        }

        public Task LeaveAsync()
        {
            Kill(ChildExitReason.Stopped);
            return Exited;
        }

        public ValueTask DisposeAsync() => default;
    }

    private sealed class Owner : IChildOwner
    {
        private readonly SemaphoreSlim _woken = new(0);

        public bool IsDisposed { get; private set; }

        public async Task WokenUntilAsync(Func<bool> condition)
        {
            while (!condition())
                Assert.True(await _woken.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken), "Nobody was told.");
        }

        public void Wake() => _woken.Release();

        public void OnFailing(long itemNumber) { }

        public void OnFinishRequested() { }

        public void OnItemBegan(Child child, long itemNumber, int attempt) { }

        public void OnItemWaits() { }

        public void OnItemGoesOn() { }

        public void OnItemReturned() { }

        public ItemCodecs Codecs { get; } = new(custom: null, []);

        public void OnGone(Child child, ChildExit exit) { }

        public void Serve<TControl, TArguments, TResult>(IncomingCall<TControl, TArguments, TResult> call)
            where TControl : class => Assert.Fail("Nothing was given to this child.");

        public void Own(string member, Task running) => Assert.Fail("Nothing was called.");

        public void Dispose() => IsDisposed = true;
    }
}
