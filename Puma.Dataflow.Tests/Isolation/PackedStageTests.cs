using System.Buffers;
using System.Text;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Many short items through one child: whatever happens to one of them in the middle of a pack happens to it alone.</summary>
public sealed class PackedStageTests : ChildTest
{
    private const int Items = 3_000;
    private const int Bad = 1_234;

    public static TheoryData<Placement> Elsewhere => [Placement.Loopback, Placement.ChildProcess];

    [Fact] // S36, S37: of a one-to-one stage no result comes twice
    public async Task ALoss_IsReplayed_AndEachResultComesOnce()
    {
        Expect(40);
        string once = Once();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, Items).Select(i => new Shot(i, i == Bad ? once : null)))
            .Transform(static shot => shot.Fire(), Child(LossPolicy.Restart().Replay()))
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, Items), seen);
        StageReport report = (await run.Report).Stage("shoot");
        Assert.Equal((Items, 1, 0), (report.Delivered, report.Restarts, report.Repeated));
    }

    [Theory] // S36: the item in work is the guilty one, and no other
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnItemThatKills_IsDeadLettered_AndNoOtherIs(bool byMemory)
    {
        Expect(40);
        Func<int, int> harm = byMemory ? TakesAllMemory : Kills;
        List<int> seen = [], letters = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, Items))
            .Transform(harm, Child(LossPolicy.Restart().DeadLetter()) with
            {
                ErrorPolicy = ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) =>
                {
                    letters.Add(letter.Item);
                    return default;
                }),
            })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal([Bad], letters);
        Assert.Equal(Others, seen);
    }

    [Fact] // S36, S37
    public async Task ALossThatFaults_NamesTheItem_AndWhatCameBeforeItHasPassed()
    {
        ExpectFailure();
        Expect(40);
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, Items)).Transform(static x => Kills(x), Child(LossPolicy.Fault)).ForEach(seen.Add));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("shoot", Bad + 1L), (fault.Stage, fault.ItemNumber));
        Assert.Equal(Bad + 1, Assert.IsType<ChildProcessLostException>(fault.InnerException).Exit.ItemNumber);
        Assert.Equal(Enumerable.Range(0, seen.Count), seen);
        Assert.InRange(seen.Count, 0, Bad);
    }

    [Theory] // S35
    [MemberData(nameof(Elsewhere))]
    public async Task ItemsThatFail_AreSkipped_AndTheOthersCome(Placement placement)
    {
        Expect(22);
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, Items))
            .Transform(static x => x % 100 == 7 ? throw new FormatException("seven") : x, new() { Name = "shoot", Placement = placement, BoundedCapacity = 500, ErrorPolicy = ErrorPolicy.Skip })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, Items).Where(static x => x % 100 != 7), seen);
        StageReport report = (await run.Report).Stage("shoot");
        Assert.Equal((Items - 30, 30), (report.Delivered, report.Skipped));
    }

    [Theory] // S38: what cannot be written on its way there, or read on its way back, and what is too long for a pack
    [MemberData(nameof(Elsewhere))]
    public async Task OddItems_InTheMiddle_KeepTheirPlaces(Placement placement)
    {
        Expect(22);
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, Items).Select(static i => Note.Of(i, i % 100 == 9 ? new string('x', 200_000) : "")))
            .Transform(static note => Note.Of(note.Number % 100 == 5 ? -note.Number : note.Number, note.Number % 100 == 7 ? new string('y', 5_000) : note.Text), new() { Name = "shoot", Placement = placement, BoundedCapacity = 500, ErrorPolicy = ErrorPolicy.Skip })
            .ForEach(note => seen.Add($"{note.Number} {note.Text.Length}")));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, Items).Where(static i => i % 100 != 5).Select(static i => $"{i} {(i % 100 == 9 ? 200_000 : i % 100 == 7 ? 5_000 : 0)}"), seen);
        Assert.Equal(30, (await run.Report).Stage("shoot").Skipped);
    }

    [Theory] // S34: a link that is full in the middle of a pack
    [MemberData(nameof(Elsewhere))]
    public async Task AFullLink_IsWaitedFor(Placement placement)
    {
        var gate = new Gate();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, Items))
            .Transform(static x => x, new() { Name = "shoot", Placement = placement, BoundedCapacity = 1000 })
            .ForEach(async x =>
            {
                if (x == 0)
                    await gate.WaitAsync();
                seen.Add(x);
            }, new() { Name = "sink", BoundedCapacity = 3 }));

        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink") is { SlotsHeld: 3 } && run.Snapshot().Stage("shoot").Delivered == 3, "the sink is full");
        gate.Open();
        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, Items), seen);
        Assert.InRange((await run.Report).Stage("sink").MaxSlotsHeld, 1, 3);
    }

    [Theory] // S34: the thread that receives runs quick user code, too; when that blocks, another one receives
    [MemberData(nameof(Elsewhere))]
    public async Task UserCodeThatBlocks_UntilMoreHasComeFromTheChild_GetsIt(Placement placement)
    {
        const int First = 20_000, Ahead = 500;
        PipelineRun? run = null;
        int blocked = 0;
        run = Start(Pipeline.From(Enumerable.Range(0, 3 * First))
            .Transform(static x => x, new() { Name = "shoot", Placement = placement, BoundedCapacity = 1000 })
            .ForEach(x =>
            {
                if (x % First != First - 1)
                    return;
                blocked++;
                Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref run)?.Snapshot().Stage("shoot").Delivered > Math.Min(x + Ahead, (3 * First) - 1), Waiting.Limit));
            }, new() { Name = "sink", BoundedCapacity = 1000 }));

        await run.Completion.Within();

        Assert.Equal(3, blocked);
    }

    [Fact] // S27: a pipeline inside of a child is none of its receiver's
    public async Task CodeOfAChild_ThatHasAPipelineOfItsOwn_ReceivesWhatThatWaitsFor()
    {
        int waited = 0;
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 20_000))
            .Transform(static x => Inner.Send(x), new() { Name = "shoot", Placement = Placement.ChildProcess, BoundedCapacity = 300 })
            .ForEach(hasWaited => waited = Math.Max(waited, hasWaited)));

        await run.Completion.Within();

        Assert.Equal(Inner.Waits, waited);
    }

    [Theory] // S10
    [MemberData(nameof(Elsewhere))]
    public async Task ALinkThatIsShut_EndsTheStage(Placement placement)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, int.MaxValue))
            .Transform(static x => x, new() { Name = "shoot", Placement = placement, BoundedCapacity = 1000 })
            .Take(Bad)
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, Bad), seen);
    }

    [Theory] // S38: whoever carries a value may use it up
    [MemberData(nameof(Elsewhere))]
    public async Task EachItem_IsWrittenOnce_HoweverLong(Placement placement)
    {
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, Items).Select(static i => new OneUse { Text = $"{i} {new string('x', i % 7 == 0 ? 5_000 : 5)}" }))
            .Transform(static item => new OneUse { Text = item.Text }, new() { Name = "shoot", Placement = placement, BoundedCapacity = 300 })
            .ForEach(item => seen.Add(item.Text!)), Options with { ItemCodec = static () => new OneUseCodec() });

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, Items).Select(static i => $"{i} {new string('x', i % 7 == 0 ? 5_000 : 5)}"), seen);
    }

    [Theory] // S39
    [MemberData(nameof(Elsewhere))]
    public async Task SharedBuffers_ThatAreShort_ArriveWhole(Placement placement)
    {
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, Items).Select(static i => Filled((byte)i)))
            .Transform(static buffer => $"{buffer.Length} {buffer.Memory.Span[0]} {buffer.Memory.Span[^1]}", new() { Name = "shoot", Placement = placement })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, Items).Select(static i => $"100 {(byte)i} {(byte)i}"), seen);
    }

    private static IEnumerable<int> Others => Enumerable.Range(0, Items).Where(static x => x != Bad);

    private static StageOptions Child(LossPolicy onLoss) => new() { Name = "shoot", Placement = Placement.ChildProcess with { OnLoss = onLoss }, BoundedCapacity = 1000 };

    private static int Kills(int x)
    {
        if (x == Bad)
            Environment.Exit(3);
        return x;
    }

    private static int TakesAllMemory(int x) => x == Bad ? throw new OutOfMemoryException() : x;

    private static SharedBuffer Filled(byte value)
    {
        SharedBuffer buffer = SharedBuffer.Rent(100);
        buffer.Memory.Span.Fill(value);
        return buffer;
    }

    /// <summary>Ends its process once, if it has a file for that.</summary>
    public sealed record Shot(int Number, string? Once)
    {
        public int Fire()
        {
            if (Once is not null && File.Exists(Once))
            {
                File.Delete(Once);
                Environment.Exit(3);
            }

            return Number;
        }
    }

    /// <summary>A text that can be carried once.</summary>
    public sealed class OneUse
    {
        public string? Text { get; set; }
    }

    private sealed class OneUseCodec : IItemCodec
    {
        public bool CanCarry(Type type) => type == typeof(OneUse);

        public void Write<T>(IBufferWriter<byte> target, T value)
        {
            var item = (OneUse)(object)value!;
            target.Write(Encoding.ASCII.GetBytes(item.Text!));
            item.Text = null;
        }

        public T Read<T>(ReadOnlySequence<byte> source) => (T)(object)new OneUse { Text = Encoding.ASCII.GetString(source) };
    }

    /// <summary>Takes back no number that is negative.</summary>
    public sealed class Note
    {
        private int _number;

        public int Number
        {
            get => _number;
            set => _number = value < 0 ? throw new ArgumentException("it is negative") : value;
        }

        public string Text { get; set; } = "";

        public static Note Of(int number, string text) => new() { _number = number, Text = text };
    }

    /// <summary>Lives in the child: a pipeline whose stage waits, now and then, until later items have come.</summary>
    private static class Inner
    {
        public const int Waits = 5;

        private const int Every = 3000, Ahead = 400;
        private static readonly PipelineRun<int> s_run = Pipeline.Accept<int>(new() { BoundedCapacity = 100_000 }).ForEach(Handle, new() { BoundedCapacity = 100_000 }).Build(new()).Start();
        private static int s_seen;
        private static int s_waits;

        public static int Send(int x)
        {
            Volatile.Write(ref s_seen, x);
#pragma warning disable VSTHRD002 // A delegate that blocks is what this is about.
            Assert.True(s_run.SendAsync(x).AsTask().Wait(Waiting.Limit));
#pragma warning restore VSTHRD002
            return Volatile.Read(ref s_waits);
        }

        private static void Handle(int x)
        {
            if (x % Every != Every - 1 || s_waits == Waits)
                return;
            if (SpinWait.SpinUntil(() => Volatile.Read(ref s_seen) >= x + Ahead, Waiting.Limit / 3))
                Volatile.Write(ref s_waits, s_waits + 1);
        }
    }
}
