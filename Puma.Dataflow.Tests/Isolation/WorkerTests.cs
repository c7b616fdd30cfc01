using System.Buffers;
using System.Threading.Tasks.Dataflow;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Stages;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What a worker does with what its parent says, in the orders that a real parent hits only by chance.</summary>
public sealed class WorkerTests
{
    // The code of a worker is made by static factories, so what it shares with its test is static; each test makes it anew.
    private static Gate s_entered = new();
    private static Gate s_open = new();

    public WorkerTests() => (s_entered, s_open) = (new Gate(), new Gate());

    [Fact] // S20
    public async Task ABodyThatNeverBegan_IsToldOfTheEnd()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(RunnableStages.Source(null, static () => new TellsItsEnd()).Recipe!));

        parent.SayEnd(RunState.Canceled);

        await parent.ReadAsync(FrameType.Idle);
        Assert.Equal("ended Canceled", (await parent.HearAsync(FrameType.Log)).Log.Message);
        Assert.Empty((await parent.HearAsync(FrameType.Ended)).Payload);
    }

    [Fact] // what the start emits may be more than the credits
    public async Task OutputsOfTheStart_WaitForNothing()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(RunnableStages.Items(null, static () => new EmitsAtStart()).Recipe!) with { Credits = [2] });

        for (int i = 1; i <= 10; i++)
            Assert.Equal(-i, await parent.ReadResultAsync<int>());
        parent.Say(FrameType.Credit, 10);
        parent.SendItem(1, 5);

        Assert.Equal(5, await parent.ReadResultAsync<int>());
        await parent.ReadAsync(FrameType.Done);
    }

    [Fact]
    public async Task AnItemThatComesWhileAHostedBlockEmits_IsHandled()
    {
        var recipe = new Recipe<IPropagatorBlock<int, int>>(HostedBlock<int, int>.Make, static (_, _) => new TransformManyBlock<int, int>(static x => Enumerable.Repeat(x, x)), null);
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(recipe) with { Credits = [2] });

        parent.SendItem(1, 5);
        await parent.ReadAsync(FrameType.Done);
        Assert.Equal(5, await parent.ReadResultAsync<int>());
        Assert.Equal(5, await parent.ReadResultAsync<int>());
        parent.SendItem(2, 1);
        await parent.UntilHeardAsync();

        // Now the worker has seen the item come, while it waited for this credit.
        parent.Say(FrameType.Credit, 1);
        Assert.Equal(5, await parent.ReadResultAsync<int>());
        await parent.UntilHeardAsync();
        parent.Say(FrameType.Credit, 100);

        for (int i = 0; i < 2; i++)
            Assert.Equal(5, await parent.ReadResultAsync<int>());
        Assert.Equal(2, (await parent.ReadAsync(FrameType.Done)).Number);
        Assert.Equal(1, await parent.ReadResultAsync<int>());
    }

    [Theory] // S41
    [InlineData(1)]
    [InlineData(100)]
    public async Task ATick_WaitsForTheEndOfTheItem_AlsoWhenItEmits(int credits)
    {
        var time = new TestClock();
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(RunnableStages.Items(null, static () => new Ticking()).Recipe!) with { Credits = [credits], TickInterval = TimeSpan.TicksPerSecond }, time: time);

        parent.SendItem(1, "item");
        Assert.Equal("item, before", await parent.ReadResultAsync<string>());
        time.Advance(TimeSpan.FromSeconds(1));
        s_open.Open();
        parent.Say(FrameType.Credit, 100);

        Assert.Equal("item, after", await parent.ReadResultAsync<string>());
        await parent.ReadAsync(FrameType.Done);
        Assert.Equal("tick", await parent.ReadResultAsync<string>());
    }

    [Fact] // S35
    public async Task MoreRetriesThanAByteHolds_AreCounted()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(RunnableStages.Items(null, static () => new TellsItsAttempt()).Recipe!) with { Retries = 300 });
        parent.SendItem(1, 1);

        for (int attempt = 1; attempt <= 300; attempt++)
        {
            Assert.Equal($"attempt {attempt} at 1", (await parent.ReadAsync(FrameType.Failed)).Error.Message);
            parent.Say(FrameType.Retry, 1, attempt: attempt + 1);
        }

        Assert.Equal("attempt 301 at 1", (await parent.ReadAsync(FrameType.Failed)).Error.Message);

        // Told of once, at the last attempt.
        Assert.Equal(1, (await parent.HearAsync(FrameType.Failing)).Number);
        parent.SayEnd(RunState.Faulted);
        await parent.HearAsync(FrameType.Ended);
    }

    [Fact] // S35, S36
    public async Task AReplay_GoesOnWithItsAttempt_AndAVerdictOfAnotherItemIsNone()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(RunnableStages.Items(null, static () => new TellsItsAttempt()).Recipe!) with { Retries = 5, FaultsAtError = false });

        parent.SendItem(1, 1, attempt: 3);
        Assert.Equal("attempt 3 at 1", (await parent.ReadAsync(FrameType.Failed)).Error.Message);
        parent.Say(FrameType.Proceed, 1);
        parent.SendItem(2, 1);
        Assert.Equal("attempt 1 at 2", (await parent.ReadAsync(FrameType.Failed)).Error.Message);
        parent.Say(FrameType.Proceed, 1);
        await parent.UntilHeardAsync();
        parent.Say(FrameType.Retry, 2, attempt: 2);

        Assert.Equal("attempt 2 at 2", (await parent.ReadAsync(FrameType.Failed)).Error.Message);
    }

    [Fact]
    public async Task TwoOutputsThatEmitAtTheSameTime_DoNotMixTheirPayloads()
    {
        var recipe = new Recipe<PortRunnable>(HostedPorts.Make, static (_, _) => new EmitsTwice(), null, ports: ["In", ">A", ">B"]);
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(recipe), static () => new SlowCodec());

        parent.SendItem(1, "go");

        Assert.Equal("fast", await parent.ReadResultAsync<string>());
        Assert.Equal("slow", await parent.ReadResultAsync<string>());
        await parent.ReadAsync(FrameType.Done);
    }

    [Fact] // S18
    public async Task ALimitThatComesJustBeforeAnItemBegins_KeepsItFromBeginning()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(RunnableStages.Items(null, static () => new TellsItsBegin()).Recipe!), static () => new SlowCodec());

        parent.SendItem(2, "gated");
        await s_entered.WaitAsync();
        parent.Say(FrameType.Limit, 1);
        await parent.UntilHeardAsync();
        s_open.Open();
        parent.Say(FrameType.Cancel);

        await parent.ReadAsync(FrameType.Idle);
        parent.SayEnd(RunState.Faulted);
        await parent.HearAsync(FrameType.Ended);
    }

    [Fact] // S18
    public async Task ALimitThatComesWhileAnItemBegins_CancelsIt()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(RunnableStages.Items(null, static () => new WaitsForItsToken()).Recipe!), mark: new GatedMark());

        parent.SendItem(2, "item");
        await s_entered.WaitAsync();
        parent.Say(FrameType.Limit, 1);
        await parent.UntilHeardAsync();
        s_open.Open();

        WorkerParent.Heard failed = await parent.ReadAsync(FrameType.Failed);
        Assert.Equal((2, FrameFlags.Canceled), (failed.Number, failed.Flags));
    }

    [Fact] // S35: the parent may be too short of processor time to tell
    public async Task AnItemThatReturnsTooLate_HasTimedOut_AlsoWhenTheParentHasNotNoticed()
    {
        var time = new TestClock();
        await using WorkerParent parent = await WorkerParent.StartAsync(Timed() with { Credits = [100] }, time: time);

        parent.SendItem(1, 5);
        Assert.Equal(5, await parent.ReadResultAsync<int>());
        time.Advance(TimeSpan.FromSeconds(1));
        s_open.Open();

        Assert.Equal((1, FrameFlags.TimedOut), (await parent.ReadAsync(FrameType.Failed)) is var failed ? (failed.Number, failed.Flags) : default);
    }

    [Fact] // S35
    public async Task AWaitForASlot_IsNotTheItemsTime()
    {
        var time = new TestClock();
        await using WorkerParent parent = await WorkerParent.StartAsync(Timed() with { Credits = [1] }, time: time);

        parent.SendItem(1, 5);
        Assert.Equal(5, await parent.ReadResultAsync<int>());
        s_open.Open();
        await parent.HearAsync(FrameType.Began);
        await parent.HearAsync(FrameType.Waits);
        time.Advance(TimeSpan.FromMinutes(1));
        parent.Say(FrameType.Credit, 1);

        Assert.Equal(6, await parent.ReadResultAsync<int>());
        await parent.ReadAsync(FrameType.Done);
    }

    [Theory] // a log that is slow does not make the end too late
    [InlineData(3, 0, 1.5)]
    [InlineData(3, 1, 0.5)]
    [InlineData(3, 2, 0)]
    [InlineData(10, 0, 2)]
    [InlineData(-0.001, 100, 2)] // for ever
    public void TheTimeForTheLog_IsPartOfStopGrace(double stopGrace, double elapsed, double expected) =>
        Assert.Equal(expected, ChildWorker.LogGraceAfter(TimeSpan.FromSeconds(stopGrace), TimeSpan.FromSeconds(elapsed)).TotalSeconds);

    private static StartRecord Timed() => WorkerParent.Record(RunnableStages.Items(null, static () => new EmitsBeforeAndAfter()).Recipe!) with
    {
        TellsItems = true,
        ItemTimeout = TimeSpan.TicksPerSecond,
    };

    [Theory] // S4, S15, S24
    [InlineData("echo", true)]
    [InlineData("wrapped", true)]
    [InlineData("genuine", false)]
    public async Task AnEmitThatIsRefused_IsOurOwnCancellation_AlsoBeforeTheTokenFires(string item, bool isOurs)
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(RunnableStages.Items(null, static () => new EmitsUntilRefused()).Recipe!) with { Credits = [1] });

        parent.SendItem(1, item);
        await parent.ReadResultAsync<string>();
        parent.Say(FrameType.Cancel);

        // The callback that runs before the item's token fires still waits.
        Assert.Equal(isOurs ? FrameFlags.Canceled : FrameFlags.None, (await parent.ReadAsync(FrameType.Failed)).Flags);
        Assert.False(s_open.IsOpen);
        s_open.Open();
        await parent.ReadAsync(FrameType.Idle);
    }

    [Fact]
    public async Task AStartThatFails_LeavesNoThread()
    {
        await using WorkerParent parent = WorkerParent.Make(WorkerParent.Record(RunnableStages.Command(null, static () => new FailsAtStart()).Recipe!) with { OwnThread = true });

        Assert.Equal("no start", (await parent.HearAsync(FrameType.StartFailed)).Error.Message);

        Assert.Equal("stage", FailsAtStart.Thread!.Name);
        await Waiting.UntilAsync(static () => !FailsAtStart.Thread.IsAlive, "the thread has ended");
    }

    [Fact]
    public async Task ASharedBuffer_BelongsToTheHostedBlockThatAcceptedIt()
    {
        var recipe = new Recipe<IPropagatorBlock<SharedBuffer, int>>(
            HostedBlock<SharedBuffer, int>.Make,
            static (_, _) => new TransformBlock<SharedBuffer, int>(static async buffer =>
            {
                await s_open.WaitAsync();
                return buffer.Memory.Span[0];
            }),
            null);
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(recipe));
        using SharedBuffer buffer = SharedBuffer.Rent(1);
        buffer.Memory.Span[0] = 42;

        // When the second item is settled, the first is so for good.
        parent.SendItem(1, buffer);
        parent.SendItem(2, buffer);
        await parent.ReadAsync(FrameType.Done);
        await parent.ReadAsync(FrameType.Done);
        s_open.Open();

        Assert.Equal(42, await parent.ReadResultAsync<int>());
        Assert.Equal(42, await parent.ReadResultAsync<int>());
    }

    private sealed class EmitsBeforeAndAfter : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await EmitAsync(item, cancellationToken);
            await s_open.WaitAsync(CancellationToken.None);
            await EmitAsync(item + 1, cancellationToken);
        }
    }

    private sealed class TellsItsEnd : SourceRunnable<int>
    {
        protected override ValueTask ProduceAsync(CancellationToken stopToken) => throw new InvalidOperationException("It was never told to begin.");

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
        {
            Context.Logger.Log(LogLevel.Information, default, outcome, null, static (state, _) => $"ended {state}");
            return default;
        }
    }

    private sealed class EmitsAtStart : Runnable<int, int>
    {
        protected override async ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            for (int i = 1; i <= 10; i++)
                await EmitAsync(-i, cancellationToken);
        }

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);
    }

    private sealed class Ticking : Runnable<string, string>
    {
        protected override async ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
        {
            await EmitAsync(item + ", before", cancellationToken);
            await s_open.WaitAsync(cancellationToken);
            await EmitAsync(item + ", after", cancellationToken);
        }

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => EmitAsync("tick", cancellationToken);
    }

    private sealed class TellsItsAttempt : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) =>
            throw new InvalidOperationException($"attempt {Context.Attempt} at {Context.ItemNumber}");
    }

    private sealed class TellsItsBegin : Runnable<string, string>
    {
        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken) => EmitAsync("begun", CancellationToken.None);
    }

    private sealed class WaitsForItsToken : Runnable<string, string>
    {
        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken) => new(Task.Delay(Waiting.Limit, cancellationToken));
    }

    private sealed class EmitsUntilRefused : Runnable<string, string>
    {
        // Callbacks run one after the other, the youngest first; the item's token is older.
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            cancellationToken.Register(static () => s_open.Block());
            return default;
        }

        protected override async ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
        {
            try
            {
                while (true)
                    await EmitAsync(item, CancellationToken.None);
            }
            catch (OperationCanceledException refused) when (item != "echo")
            {
                throw item == "wrapped" ? new InvalidOperationException("refused", refused) : new FormatException("genuine");
            }
        }
    }

    private sealed class FailsAtStart : CommandRunnable
    {
        public static Thread? Thread { get; private set; }

        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            Thread = Thread.CurrentThread;
            throw new InvalidOperationException("no start");
        }
    }

    private sealed class EmitsTwice : PortRunnable
    {
        public EmitsTwice()
        {
            In = new Input<string>(async (_, cancellationToken) =>
            {
                Task slow = Task.Run(async () => await A.EmitAsync("slow", CancellationToken.None), cancellationToken);
                await s_entered.WaitAsync(cancellationToken);
                await B.EmitAsync("fast", CancellationToken.None);
                s_open.Open();
                await slow;
            });
        }

        public Input<string> In { get; }

        public Output<string> A { get; } = new();

        public Output<string> B { get; } = new();
    }

    /// <summary>Stops in the middle of "slow" when it is written, and of "gated" when it is read, until the gate opens.</summary>
    private sealed class SlowCodec : IItemCodec
    {
        public bool CanCarry(Type type) => type == typeof(string);

        public void Write<T>(IBufferWriter<byte> target, T value)
        {
            byte[] text = System.Text.Encoding.ASCII.GetBytes((string)(object)value!);
            target.Write(text.AsSpan(0, 2));
            if (value is "slow")
                Stop();
            target.Write(text.AsSpan(2));
        }

        public T Read<T>(ReadOnlySequence<byte> source)
        {
            string text = System.Text.Encoding.ASCII.GetString(source.ToArray());
            if (text == "gated")
                Stop();
            return (T)(object)text;
        }

        private static void Stop()
        {
            s_entered.Open();
            s_open.Block();
        }
    }

    /// <summary>Holds an item while it begins; the first note of it is made before it is decoded.</summary>
    private sealed class GatedMark : IWorkMark
    {
        private int _notes;

        public void Begin(long number)
        {
            if (++_notes == 1)
                return;
            s_entered.Open();
            s_open.Block();
        }

        public void End() { }

        public void GiveUp(string reason) => throw new NotSupportedException(reason);
    }
}
