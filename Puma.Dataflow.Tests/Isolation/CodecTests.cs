using System.Buffers;
using System.Collections.Immutable;
using System.Numerics;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What crosses to another process as it is, and what is refused with the member's name (S38).</summary>
public sealed class CodecTests
{
    private static readonly ItemCodecs Codecs = new(null, [typeof(Circle), typeof(Square)]);

    [Fact]
    public void PlainValues_ArriveAsTheyWere()
    {
        AssertCrosses(42);
        AssertCrosses(-1L);
        AssertCrosses(double.NaN);
        AssertCrosses(1.5m);
        AssertCrosses(true);
        AssertCrosses('\uD800');
        AssertCrosses(Guid.NewGuid());
        AssertCrosses(new DateTime(2026, 11, 23, 1, 2, 3, DateTimeKind.Local));
        AssertCrosses(new DateTime(2026, 11, 23, 1, 2, 3, DateTimeKind.Utc));
        AssertCrosses(new DateTimeOffset(2026, 11, 23, 1, 2, 3, TimeSpan.FromHours(-5)));
        AssertCrosses(TimeSpan.FromTicks(-7));
        AssertCrosses(DayOfWeek.Friday);
        AssertCrosses((1, 2L, 3.5f));
        AssertCrosses((int?)5);
        AssertCrosses((int?)null);
        AssertCrosses(new Point(1, 2));
    }

    [Fact]
    public void Texts_ArriveToTheLastSurrogate()
    {
        AssertCrosses("");
        AssertCrosses("käse \uD83E\uDDC0 \uD800 alone");
        AssertCrosses<string?>(null);
        AssertCrosses(new string('x', 1_000_000));
        AssertCrossesList(["a", "", null!]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(65_535)]
    [InlineData(65_536)]
    [InlineData(6_000_000)]
    public void Blocks_OfAnyLength_Arrive(int length)
    {
        byte[] bytes = new byte[length];
        Random.Shared.NextBytes(bytes);
        AssertCrossesList(bytes);
        AssertCrossesList(Enumerable.Range(0, length / 4).ToArray());
        Assert.Equal(bytes, Cross<Memory<byte>>(bytes).ToArray());
        Assert.Equal(bytes, Cross<ReadOnlyMemory<byte>>(bytes).ToArray());
        Frame frame = Cross(new Frame(7, bytes, Enumerable.Repeat(1.5f, length / 4).ToArray(), bytes));
        Assert.Equal((7, bytes), (frame.Id, frame.Pixels), new FrameComparer());
        Assert.Equal(length / 4, frame.Weights.Length);
        Assert.Equal(bytes, frame.Mask.ToArray());
    }

    [Fact]
    public void Blocks_Large_AreNotCopiedIntoTheHead()
    {
        var writer = new PayloadWriter();
        Codecs.For<Frame>().Write(writer, new Frame(1, new byte[100_000], [], default));

        Assert.True(writer.HasBlocks);
        Assert.InRange(writer.GetMemory().Length, 0, 10_000);
    }

    [Fact]
    public void Records_WithoutAnnotation_Arrive()
    {
        var person = new Person("Ada", 36, [new("Lovelace", 1), new("Byron", 2)], new() { ["x"] = 1.5, ["y"] = double.PositiveInfinity }, [1, 2], ["a"], DayOfWeek.Monday, null);

        Person arrived = Cross(person);

        Assert.Equal((person.Name, person.Age, person.Day, person.Nothing), (arrived.Name, arrived.Age, arrived.Day, arrived.Nothing));
        Assert.Equal(person.Tags, arrived.Tags);
        Assert.Equal(person.Values.OrderBy(static p => p.Key), arrived.Values.OrderBy(static p => p.Key));
        Assert.Equal(person.Numbers.AsEnumerable(), arrived.Numbers);
        Assert.Equal(person.Set, arrived.Set);
        Assert.Equal(12, Cross(new WithInit { Required = 12, Text = "t" }).Required);
        Assert.Equal(BigInteger.Pow(7, 100), Cross(new Wrapper<BigInteger>(BigInteger.Pow(7, 100))).Value);
        Assert.Equal(new Uri("a/b", UriKind.Relative), Cross(new Wrapper<Uri>(new Uri("a/b", UriKind.Relative))).Value);
        Assert.Null(Cross<Person?>(null));
    }

    [Fact]
    public void DeclaredDerivedTypes_ArriveWhole_AtAnyDepth()
    {
        Assert.Equal(new Circle("c", 2), Cross<Shape>(new Circle("c", 2)));
        Drawing drawing = Cross(new Drawing([new Square("s", 3), new Circle("c", 1)], new Circle("main", 9)));

        Assert.Equal([new Square("s", 3), new Circle("c", 1)], drawing.Shapes);
        Assert.Equal(new Circle("main", 9), drawing.Main);
    }

    [Fact]
    public void UndeclaredDerivedTypes_FailAtTheSender_NeverSliced()
    {
        var writer = new PayloadWriter();

        Assert.Throws<ItemCodecException>(() => Codecs.For<Shape>().Write(writer, new Triangle("t", 1)));
        var nested = Assert.Throws<ItemCodecException>(() => Codecs.For<Drawing>().Write(writer, new Drawing([new Triangle("t", 1)], new Circle("c", 1))));
        Assert.Equal("Drawing.Shapes[0]", nested.Member);
        Assert.Contains("List Triangle in DerivedTypes of PipelineOptions, or of WorkersOptions for jobs", nested.Message, StringComparison.Ordinal);
        Assert.Throws<ItemCodecException>(() => Codecs.For<Open>().Write(writer, new OpenDerived(1, 2)));
    }

    [Fact]
    public void Cycles_AreRefused_NeverEndless()
    {
        var node = new Node { Name = "self" };
        node.Next = node;

        Assert.Throws<ItemCodecException>(() => Codecs.For<Node>().Write(new PayloadWriter(), node));
        Assert.Equal("tail", Cross(new Node { Name = "head", Next = new Node { Name = "tail" } }).Next!.Name);
    }

    [Fact] // S38
    public void AMemberThatThrows_IsARefusal()
    {
        ItemCodecException refused = Assert.Throws<ItemCodecException>(() => Codecs.For<Throwing>().Write(new PayloadWriter(), new Throwing()));

        Assert.Contains("not to be read", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(typeof(Func<int>), "delegate")]
    [InlineData(typeof(Wrapper<Stream>), "Value")]
    [InlineData(typeof(Wrapper<Task>), "Value")]
    [InlineData(typeof(Wrapper<CancellationToken>), "Value")]
    [InlineData(typeof(Wrapper<Type>), "Value")]
    [InlineData(typeof(Wrapper<nint>), "address")]
    [InlineData(typeof(Wrapper<object>), "DerivedTypes")]
    [InlineData(typeof(Wrapper<IDisposable>), "DerivedTypes")]
    [InlineData(typeof(List<Wrapper<Thread>>), "[].Value")]
    [InlineData(typeof(Hidden), "not public")]
    [InlineData(typeof(Odd), "parameter 'a'")]
    [InlineData(typeof(WriteOnly), "parameter 'a'")]
    [InlineData(typeof(Optional), "parameter 'a'")]
    [InlineData(typeof(Wrapper<List<Odd>>), "Value[] is of type Odd")]
    [InlineData(typeof(Dictionary<string, Odd?>), "Value is of type Odd")]
    [InlineData(typeof((string, Odd)), "Item2 is of type Odd")]
    public void TypesThatCannotCross_AreToldByTheirMember(Type type, string expected) =>
        Assert.Contains(expected, Codecs.FindProblem(type) ?? "no problem", StringComparison.Ordinal);

    [Fact] // S38: a parameter and its property may differ in case, and in type
    public void Constructors_WhosePropertiesAreNamedAsTheirParameters_AreCalled()
    {
        Assert.Equal("u", Cross(new Cased("u")).URL);
        Assert.Equal([1, 2], Cross(new Copied([1, 2])).Items);
        Assert.Equal("a", Cross(new KeyValuePair<string, string>("a", "b")).Key);
        Assert.Equal(("a", "i"), (Cross(("a", 2, 3, 4, 5, 6, 7, 8, "i")).Item1, Cross(("a", 2, 3, 4, 5, 6, 7, 8, "i")).Item9));
        Assert.Equal("i", Cross(Tuple.Create("a", "i")).Item2);
        Assert.Equal("f", Cross(new WithField("f")).Name);
    }

    [Fact]
    public void SharedBuffers_ArePooledWhereTheyArrive_UntilTheItemIsSettled()
    {
        SharedBuffer sent = SharedBuffer.Rent(100_000);
        Random.Shared.NextBytes(sent.Memory.Span);
        var writer = new PayloadWriter();
        Codecs.For<Wrapper<SharedBuffer>>().Write(writer, new Wrapper<SharedBuffer>(sent));
        var reader = Reader(writer);
        SharedBuffer released = Codecs.For<Wrapper<SharedBuffer>>().Read(reader).Value;
        Assert.Equal(sent.Memory.ToArray(), released.Memory.ToArray());
        reader.Release();
        Assert.Throws<ObjectDisposedException>(() => released.Memory);

        reader = Reader(writer);
        SharedBuffer kept = Codecs.For<Wrapper<SharedBuffer>>().Read(reader).Value.Retain();
        reader.Release();
        Assert.Equal(sent.Memory.ToArray(), kept.Memory.ToArray());
        kept.Dispose();
        kept.Dispose();
        Assert.Throws<ObjectDisposedException>(() => kept.Retain());
    }

    [Fact] // S48: what arrives as a result is its reader's
    public void SharedBuffers_ThatAreKept_AreForgotten()
    {
        var writer = new PayloadWriter();
        Codecs.For<Wrapper<SharedBuffer>>().Write(writer, new Wrapper<SharedBuffer>(SharedBuffer.Rent(100_000)));
        PayloadReader reader = Reader(writer);
        SharedBuffer result = Codecs.For<Wrapper<SharedBuffer>>().Read(reader).Value;

        reader.Keep();

        Assert.True(reader.Head.IsEmpty);
        Assert.Throws<ItemCodecException>(() => reader.Block(0));
        reader.Release();
        Assert.Equal(100_000, result.Memory.Length);
    }

    [Fact]
    public void ManyShortValues_CrossInAPack()
    {
        AssertCrossTogether([1, -2, int.MaxValue], longest: 1024, expected: 3);
        AssertCrossTogether([new Point(1, 2), new Point(3, 4)], longest: 1024, expected: 2);
        AssertCrossTogether(["", "b", null], longest: 1024, expected: 3);

        // Up to the first that is not short.
        AssertCrossTogether(["a", new string('x', 2000), "c"], longest: 1024, expected: 1);
        AssertCrossTogether([1L, 2L], longest: 7, expected: 0);
        AssertCrossTogether([default(Wide), default], longest: 1024, expected: 0);

        // Or that cannot be carried.
        AssertCrossTogether<Shape>([new Circle("a", 1), new Triangle("b", 2), new Circle("c", 3)], longest: 1024, expected: 1);
    }

    [Fact] // S40
    public void AValueOfAPack_OfAnotherLength_IsNotRead()
    {
        ItemCodec<long> codec = Codecs.For<long>();
        FramePacker packer = new();
        packer.Add(sizeof(long));
        packer.Add(sizeof(int));
        FramePack pack = PackOf(packer);
        var target = new long[2];

        Assert.Equal(1, codec.ReadMany(new PayloadReader(), ref pack, target));

        Assert.Equal(2, pack.Number);
        Assert.Equal(0, codec.ReadMany(new PayloadReader(), ref pack, target));
    }

    [Fact]
    public void CustomCodec_IsAskedFirst()
    {
        var codecs = new ItemCodecs(new HiddenCodec(), []);
        var writer = new PayloadWriter();

        codecs.For<Hidden>().Write(writer, new Hidden(5));

        Assert.Equal(5, codecs.For<Hidden>().Read(Reader(writer)).Secret);

        // It carries whole items, so a type that holds one must not seem to be carried.
        Assert.Null(codecs.FindProblem(typeof(Hidden)));
        Assert.Contains("Hidden", codecs.FindProblem(typeof(Wrapper<Hidden>)), StringComparison.Ordinal);
    }

    [Fact] // S40
    public void CorruptPayloads_GiveAValueOrARefusal()
    {
        var random = new Random(5);
        Corrupt(random, new Person("Ada", 36, [new("L", 1)], new() { ["x"] = 1 }, [1, 2], ["a"], DayOfWeek.Monday, "n"));
        Corrupt(random, "a text");
        Corrupt(random, new[] { "a", "b" });
        Corrupt(random, new byte[70_000]);
        Corrupt(random, new Frame(1, new byte[70_000], [1, 2], new byte[10]));
        Corrupt<Shape>(random, new Circle("c", 2));
    }

    private static void Corrupt<T>(Random random, T value)
    {
        var writer = new PayloadWriter();
        Codecs.For<T>().Write(writer, value);
        var buffer = new ArrayBufferWriter<byte>();
        writer.CopyTo(buffer);
        for (int i = 0; i < 2000; i++)
        {
            byte[] bytes = buffer.WrittenSpan[..(random.Next(4) == 0 ? random.Next(buffer.WrittenCount) : buffer.WrittenCount)].ToArray();
            for (int flips = bytes.Length == 0 ? 0 : random.Next(1, 4); flips > 0; flips--)
                bytes[random.Next(Math.Min(bytes.Length, 200))] = (byte)random.Next(256);
            var reader = new PayloadReader();
            try
            {
                reader.Reset(new ReadOnlySequence<byte>(bytes), writer.HasBlocks);
                Codecs.For<T>().Read(reader);
            }
            catch (ItemCodecException)
            {
                // That is the other good answer.
            }
        }
    }

    private static T Cross<T>(T value)
    {
        var writer = new PayloadWriter();
        Codecs.For<T>().Write(writer, value);
        return Codecs.For<T>().Read(Reader(writer));
    }

    private static PayloadReader Reader(PayloadWriter writer)
    {
        var buffer = new ArrayBufferWriter<byte>();
        writer.CopyTo(buffer);
        Assert.Equal(writer.Length, buffer.WrittenCount);
        var reader = new PayloadReader();
        reader.Reset(new ReadOnlySequence<byte>(buffer.WrittenMemory), writer.HasBlocks);
        return reader;
    }

    private static void AssertCrosses<T>(T value) => Assert.Equal(value, Cross(value));

    private static void AssertCrossesList<T>(T[] value) => Assert.Equal(value, Cross(value));

    private static void AssertCrossTogether<T>(T[] values, int longest, int expected)
    {
        ItemCodec<T> codec = Codecs.For<T>();
        FramePacker packer = new();
        PayloadWriter writer = new();
        Assert.Equal(expected, codec.WriteMany(writer, packer, longest, values));
        if (expected == 0)
            return;
        FramePack pack = PackOf(packer);
        var target = new T[values.Length];
        Assert.Equal(expected, codec.ReadMany(new PayloadReader(), ref pack, target));
        Assert.Equal(values.Take(expected), target.Take(expected));
        Assert.True(pack.IsEmpty);
        Assert.Equal(expected + 1, pack.Number);
    }

    private static FramePack PackOf(FramePacker packer) =>
        new(new FrameHeader(FrameType.PackedItems, 0, 1, FrameFlags.None, 1, packer.Payload.Length), packer.Payload.ToArray(), 0);

    [System.Runtime.CompilerServices.InlineArray(1025)]
    private struct Wide
    {
        private byte _first;
    }

    private sealed class FrameComparer : IEqualityComparer<(int, byte[])>
    {
        public bool Equals((int, byte[]) x, (int, byte[]) y) => x.Item1 == y.Item1 && x.Item2.AsSpan().SequenceEqual(y.Item2);

        public int GetHashCode((int, byte[]) obj) => obj.Item1;
    }

    private sealed class HiddenCodec : IItemCodec
    {
        public bool CanCarry(Type type) => type == typeof(Hidden);

        public void Write<T>(IBufferWriter<byte> target, T value)
        {
            target.GetSpan(1)[0] = (byte)((Hidden)(object)value!).Secret;
            target.Advance(1);
        }

        public T Read<T>(ReadOnlySequence<byte> source) => (T)(object)new Hidden(source.FirstSpan[0]);
    }

    public readonly record struct Point(int X, int Y);

    public sealed record Tag(string Name, int Weight);

    public sealed record Person(string Name, int Age, List<Tag> Tags, Dictionary<string, double> Values, ImmutableArray<int> Numbers, HashSet<string> Set, DayOfWeek Day, string? Nothing);

    public sealed record Frame(int Id, byte[] Pixels, float[] Weights, ReadOnlyMemory<byte> Mask);

    public sealed record Wrapper<T>(T Value);

    public sealed class WithInit
    {
        public required int Required { get; init; }

        public string? Text { get; set; }
    }

    public abstract record Shape(string Name);

    public sealed record Circle(string Name, double Radius) : Shape(Name);

    public sealed record Square(string Name, double Side) : Shape(Name);

    public sealed record Triangle(string Name, double Side) : Shape(Name);

    public sealed record Drawing(IReadOnlyList<Shape> Shapes, Shape Main);

    public record Open(int A);

    public sealed record OpenDerived(int A, int B) : Open(A);

    public sealed class Node
    {
        public string? Name { get; set; }

        public Node? Next { get; set; }
    }

    public sealed class Throwing
    {
        public Node? Node { get => throw new InvalidOperationException("not to be read"); set => _ = value; }
    }

    public sealed class Cased(string url)
    {
        public string URL => url;
    }

    public sealed class Copied(IEnumerable<int> items)
    {
        public IReadOnlyList<int> Items { get; } = [.. items];
    }

    public sealed class Optional(int a = 7)
    {
        public int B { get; set; } = a;
    }

    public sealed class WithField(string name)
    {
        public readonly string Name = name;
    }

    /// <summary>Its constructor wants what it does not tell.</summary>
    public sealed class Odd(int a)
    {
        private readonly int _a = a;

        public int B { get; } = 3;

        public override string ToString() => $"{_a}";
    }

    public sealed class WriteOnly(string a)
    {
        private string _a = a;

        public string A { set => _a = value; }

        public override string ToString() => _a;
    }

    public sealed class Hidden
    {
        private readonly int _secret;

        public Hidden() { }

        internal Hidden(int secret) => _secret = secret;

        internal int Secret => _secret;
    }
}
