using System.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Reports of a child that no child of this library sends end it, and do no other harm (S40).</summary>
public sealed class StatusReceiverTests
{
    private static readonly ItemCodecs Codecs = new(null, []);

    private readonly StatusBoard _board = new();
    private readonly List<ItemCodecException> _dropped = [];

    [Fact]
    public void AReport_IsPutOnTheBoard()
    {
        StatusReceiver receiver = Make<Reading>();

        receiver.Add(Status(5, new Reading("a", [1, 2]), dropped: 4));
        receiver.Add(Status(6, new Reading("b", [3])));

        StatusReport<Reading> latest = _board.Latest<Reading>(2)!;
        Assert.Equal(("b", 2, new DateTimeOffset(7, TimeSpan.Zero)), (latest.Value.Name, latest.Instance, latest.Time));
        Assert.Equal(6, receiver.Taken);
        Assert.True(receiver.TryTell(out long taken));
        Assert.Equal(6, taken);
        Assert.False(receiver.TryTell(out _));
    }

    [Theory] // S40
    [InlineData(1, "System.Int32")]
    [InlineData(-1, "System.Int32")]
    [InlineData(0, "")]
    [InlineData(0, "No.Such.Type, Nowhere")]
    [InlineData(0, "[[[,,,")]
    [InlineData(0, "System.Object")]
    [InlineData(0, "System.Action")]
    [InlineData(0, "System.Void")]
    [InlineData(0, "System.Span`1")]
    [InlineData(0, "System.Int32&")]
    [InlineData(0, "System.Int32*")]
    [InlineData(0, "System.Collections.Generic.List`1")]
    [InlineData(0, "Puma.Dataflow.StageState, Puma.Dataflow")]
    public void ATypeThatCannotBe_IsAViolation(long index, string name) =>
        Assert.Throws<ProtocolViolationException>(() => new StatusReceiver(Codecs, _board, 0, _dropped.Add).AddType(index, name));

    [Fact] // S40
    public void TooManyTypes_AreAViolation()
    {
        var receiver = new StatusReceiver(Codecs, _board, 0, _dropped.Add);
        for (int i = 0; i < StatusRecord.MaxTypes; i++)
            receiver.AddType(i, "System.Int32");

        Assert.Throws<ProtocolViolationException>(() => receiver.AddType(StatusRecord.MaxTypes, "System.Int32"));
    }

    [Fact] // S40
    public void AReportThatCannotBe_IsAViolation()
    {
        Frame good = Status(1, new Reading("a", []));
        foreach (Frame bad in (Frame[])
        [
            good with { Port = 1 },
            good with { Number = 0 },
            good with { Number = -1 },
            Status(1, new Reading("a", []), dropped: 1),
            Status(1, new Reading("a", []), dropped: -1),
            Status(1, new Reading("a", []), time: -1),
            Status(1, new Reading("a", []), time: long.MaxValue),
            Status(1, (Reading?)null),
            good with { Payload = good.Payload.Slice(0, 10) },
            good with { Flags = FrameFlags.HasBlocks },
        ])
        {
            Assert.Throws<ProtocolViolationException>(() => Make<Reading>().Add(bad));
        }

        StatusReceiver receiver = Make<Reading>();
        receiver.Add(good);
        Assert.Throws<ProtocolViolationException>(() => receiver.Add(good));
    }

    [Fact] // S40, S43: that a type throws when it is made again is no fault of the child
    public async Task AReportWhoseTypeThrows_IsDroppedAndCounted()
    {
        StatusReceiver receiver = Make<Picky>();
        using StatusReader<Picky> reader = _board.Read<Picky>(capacity: 10, withChanges: true);

        receiver.Add(Status(1, Picky.Of(-1)));
        receiver.Add(Status(4, Picky.Of(-2), dropped: 2));
        Assert.Null(_board.Latest<Picky>(2));
        receiver.Add(Status(5, Picky.Of(1)));

        receiver.Add(Status(6, Picky.Of(2)));

        StatusReport<Picky> first = (await reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().Within())!;
        StatusReport<Picky> second = (await reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().Within())!;
        Assert.Equal((1, 4), (first.Value.Value, first.Dropped));
        Assert.Equal((2, 0), (second.Value.Value, second.Dropped));
        Assert.Equal(6, receiver.Taken);
        Assert.Equal(2, _dropped.Count);
        Assert.Contains("negative", _dropped[0].Message, StringComparison.Ordinal);
    }

    [Fact] // S40: a hundred thousand mutated reports: taken, or a violation; no other exception
    public void MutatedReports_DoNoHarm()
    {
        var random = new Random(4711);
        Frame good = Status(9, new Reading("name", [1, 2, 3]), dropped: 3);
        byte[] payload = good.Payload.ToArray();
        int taken = 0, violations = 0;
        StatusReceiver receiver = Make<Reading>();
        for (int i = 0; i < 100_000; i++)
        {
            byte[] mutant = [.. payload];
            for (int flips = random.Next(1, 4); flips > 0; flips--)
                mutant[random.Next(mutant.Length)] = (byte)random.Next(256);
            int length = random.Next(8) == 0 ? random.Next(mutant.Length) : mutant.Length;
            try
            {
                receiver.Add(good with { Number = 9 + i, Port = (ushort)(random.Next(50) == 0 ? 1 : 0), Flags = random.Next(20) == 0 ? FrameFlags.HasBlocks : FrameFlags.None, Payload = new ReadOnlySequence<byte>(mutant, 0, length) });
                taken++;
            }
            catch (ProtocolViolationException)
            {
                violations++;
            }
        }

        Assert.True(taken > 1000 && violations > 1000, $"{taken} taken, {violations} violations");
    }

    private StatusReceiver Make<T>()
    {
        var receiver = new StatusReceiver(Codecs, _board, 2, _dropped.Add);
        receiver.AddType(0, typeof(T).AssemblyQualifiedName!);
        return receiver;
    }

    private static Frame Status<T>(long number, T value, long dropped = 0, long time = 7)
    {
        var writer = new PayloadWriter();
        Codecs.For<T>().Write(writer, value);
        var encoded = new ArrayBufferWriter<byte>();
        writer.CopyTo(encoded);
        var fields = new FieldWriter();
        new StatusRecord(time, dropped, new ReadOnlySequence<byte>(encoded.WrittenMemory)).WriteTo(fields);
        return new Frame(FrameType.Status, 0, 1, FrameFlags.None, number, new ReadOnlySequence<byte>(fields.Written.ToArray()));
    }

    public sealed record Reading(string Name, int[] Values);

    /// <summary>Takes back no value that is negative.</summary>
    public sealed class Picky
    {
        private int _value;

        public string Name { get; set; } = "";

        public int Value
        {
            get => _value;
            set => _value = value < 0 ? throw new ArgumentException("it is negative") : value;
        }

        public static Picky Of(int value) => new() { _value = value };
    }
}
