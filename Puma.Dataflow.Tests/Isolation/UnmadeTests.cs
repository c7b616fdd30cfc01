using System.Buffers;
using System.Buffers.Binary;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Stages;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What a type, or a codec, does that throws when a value is made again: it fails the item, and the child lives.</summary>
public sealed class UnmadeTests : ChildTest
{
    public static TheoryData<Home> Elsewhere => [Home.Loopback, Home.ChildProcess];

    [Theory] // S38
    [MemberData(nameof(Elsewhere))]
    public async Task AResultThatCannotBeMadeAgain_IsAnErrorOfItsItem_NeverRetried_AndTheChildLives(Home home)
    {
        List<DeadLetter<int>> letters = [];
        List<Picky> seen = [];
        PipelineRun run = Start(Pipeline.From([1, -2, 3, -4, 5])
            .Transform(static number => Picky.Of(number), new()
            {
                Name = "pick",
                Placement = PlacementOf(home),
                ErrorPolicy = ErrorPolicy.Retry(3).Then(ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) =>
                {
                    letters.Add(letter);
                    return default;
                })),
            })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal([1, 3, 5], seen.Select(static p => p.Value));
        Assert.Single(seen.Select(static p => p.Process).Distinct());
        Assert.Equal([(-2, 1), (-4, 1)], letters.Select(static l => (l.Item, l.Attempts)));
        Assert.All(letters, static l => Assert.Contains("it is negative", Assert.IsType<ItemCodecException>(l.Error).Message, StringComparison.Ordinal));
        Assert.Equal(0, (await run.Report).Stage("pick").Restarts);
    }

    [Theory] // S38
    [MemberData(nameof(Elsewhere))]
    public async Task AResultThatCannotBeMadeAgain_FaultsTheStage_WhenItsPolicySaysSo(Home home)
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From([1, -2, 3])
            .Transform(static number => Picky.Of(number), new() { Name = "pick", Placement = PlacementOf(home) })
            .ForEach(static _ => { }));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("pick", 2L), (fault.Stage, fault.ItemNumber));
        Assert.IsType<ItemCodecException>(fault.InnerException);
    }

    [Theory] // S38: what came before it was passed on; what came after it was not
    [MemberData(nameof(Elsewhere))]
    public async Task OneOfManyResults_FailsItsItem_WhichMakesNothingMore(Home home)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([10, 20])
            .TransformMany(static number => (Picky[])[Picky.Of(number), Picky.Of(number == 10 ? -1 : 21), Picky.Of(number + 2)], new() { Name = "pick", Placement = PlacementOf(home), ErrorPolicy = ErrorPolicy.Skip, BoundedCapacity = 1 })
            .ForEach(p => seen.Add(p.Value), new() { BoundedCapacity = 1 }));

        await run.Completion.Within();

        Assert.Equal([10, 20, 21, 22], seen);
        Assert.Equal(1, (await run.Report).Stage("pick").Skipped);
    }

    [Theory] // S38: a codec of the user's is no protocol
    [MemberData(nameof(Elsewhere))]
    public async Task ACodecThatThrowsWhenItReads_IsAnErrorOfItsItem(Home home)
    {
        List<int> seen = [];
        PipelineRun run = Start(
            Pipeline.From([1, -2, 3])
                .Transform(static number => new Sealed(number), new() { Name = "make", Placement = PlacementOf(home), ErrorPolicy = ErrorPolicy.Skip })
                .ForEach(s => seen.Add(s.Value)),
            Options with { ItemCodec = static () => new SealedCodec() });

        await run.Completion.Within();

        Assert.Equal([1, 3], seen);
    }

    [Theory] // S38: there is no item to fail
    [MemberData(nameof(Elsewhere))]
    public async Task OutsideOfItems_ItFaultsTheStage_AndIsNoLoss(Home home)
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From(static () => new EmitsAtTheStart(), new() { Name = "source", Placement = PlacementOf(home) }).ForEach(static _ => { }));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("source", fault.Stage);
        Assert.IsType<ItemCodecException>(fault.InnerException);
    }

    [Fact] // S37, S38: it has failed for good, also when its child is lost before it could say that it is done
    public void AnItemWithSuchAResult_IsNotHandledAgain_WhenItsChildIsLost()
    {
        var slot = new ChildSlot(0);
        (Held failed, Held next) = (new Held { Number = 1, OutputError = new ItemCodecException(typeof(Picky), null, "it is negative") }, new Held { Number = 2 });
        slot.AddSent(failed);
        slot.AddSent(next);

        HeldInput[] unanswered = slot.TakeBack(isOneToOne: false, static (_, _) => false);

        Assert.Same(next, Assert.Single(unanswered));
        Assert.Same(failed, Assert.Single(slot.Sent));
        Assert.True(slot.TryPeek(out Frame frame));
        Assert.Equal((FrameType.Done, 1L), (frame.Type, frame.Number));
    }

    [Fact] // S38
    public void Build_RefusesATypeThatWantsWhatItDoesNotTell_AndNamesTheParameter()
    {
        PipelineBuildException refused = Assert.Throws<PipelineBuildException>(() => Pipeline.From([1])
            .Transform(static number => new List<Odd> { new(number) }, new() { Name = "make", Placement = Placement.Loopback })
            .ForEach(static _ => { })
            .Build(Options));

        Assert.Contains("'make'", refused.Message, StringComparison.Ordinal);
        Assert.Contains("is of type Odd", refused.Message, StringComparison.Ordinal);
        Assert.Contains("parameter 'a'", refused.Message, StringComparison.Ordinal);
    }

    [Theory] // S38, S43
    [MemberData(nameof(Elsewhere))]
    public async Task AStatusOfSuchAType_IsRefusedWhereItIsReported(Home home)
    {
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From([1]).Then(static () => new ReportsOdd(), new() { Name = "reports", Placement = PlacementOf(home) }).ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Contains("parameter 'a'", Assert.Single(seen), StringComparison.Ordinal);
    }

    private sealed class Held() : HeldInput(null!)
    {
        public override object? Untyped => null;

        public override void Encode(PayloadWriter writer) { }

        public override int KeyHash() => 0;

        protected override ValueTask BookAsync(Fate fate) => default;
    }

    private static Placement PlacementOf(Home home) => home == Home.Loopback ? Placement.Loopback : Placement.ChildProcess;

    /// <summary>Takes back no value that is negative.</summary>
    public sealed class Picky
    {
        private int _value;

        public string Name { get; set; } = "";

        public int Process { get; set; }

        public int Value
        {
            get => _value;
            set => _value = value < 0 ? throw new ArgumentException("it is negative") : value;
        }

        public static Picky Of(int value) => new() { _value = value, Process = Environment.ProcessId };
    }

    /// <summary>Its constructor wants what it does not tell.</summary>
    public sealed class Odd(int a)
    {
        private readonly int _a = a;

        public int B { get; } = 3;

        public override string ToString() => $"{_a}";
    }

    public sealed class Sealed
    {
        internal Sealed(int value) => Value = value;

        internal int Value { get; }
    }

    private sealed class SealedCodec : IItemCodec
    {
        public bool CanCarry(Type type) => type == typeof(Sealed);

        public void Write<T>(IBufferWriter<byte> target, T value)
        {
            BinaryPrimitives.WriteInt32LittleEndian(target.GetSpan(sizeof(int)), ((Sealed)(object)value!).Value);
            target.Advance(sizeof(int));
        }

        public T Read<T>(ReadOnlySequence<byte> source)
        {
            int value = BinaryPrimitives.ReadInt32LittleEndian(source.ToArray());
            return value < 0 ? throw new FormatException("it is negative") : (T)(object)new Sealed(value);
        }
    }

    private sealed class EmitsAtTheStart : SourceRunnable<Picky>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken) => await EmitAsync(Picky.Of(-1), stopToken);
    }

    private sealed class ReportsOdd : Runnable<int, string>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            string what = "nothing was thrown";
            try
            {
                ReportStatus(new Odd(item));
            }
            catch (ItemCodecException error)
            {
                what = error.Message;
            }

            await EmitAsync(what, cancellationToken);
        }
    }
}
