using System.Diagnostics.CodeAnalysis;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What workers refuse, when, and what they say of it.</summary>
public sealed class JobInputTests : JobTest
{
    public sealed class Node
    {
        public Node? Next { get; set; }

        public static Node Cycle()
        {
            var node = new Node();
            node.Next = node;
            return node;
        }
    }

    public sealed record HasStream(Stream Content);

    public abstract record Shape(int Size);

    public record Circle(int Size) : Shape(Size);

    public sealed record Disc(int Size) : Circle(Size);

    [Theory]
    [MemberData(nameof(HomesElsewhere))]
    public async Task Elsewhere_ADelegateThatCaptures_IsRefusedAtTheCall_AndNamesWhatItCaptures(Home home)
    {
        Workers workers = Make(home, new() { Count = 1 });
        int factor = 3;

        ArgumentException refused = Assert.Throws<ArgumentException>(() => { _ = workers.SubmitAsync((x, _) => x * factor, 1); });
        Assert.Equal("work", refused.ParamName);
        Assert.Contains("'factor'", refused.Message, StringComparison.Ordinal);
        Assert.Contains("as its argument", refused.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => workers.MapAsync((x, _) => x * factor, [1]));
        Assert.Contains(nameof(JobInputTests), Assert.Throws<ArgumentException>(() => { _ = workers.SubmitAsync(OfThisObject, 1); }).Message, StringComparison.Ordinal);

        Assert.Equal(1, await workers.SubmitAsync(static (x, _) => x, 1).Within());
        Assert.Equal(0, workers.Snapshot().Failed);
    }

    private int OfThisObject(int number, CancellationToken cancellationToken) => cancellationToken.IsCancellationRequested ? 0 : number + GetHashCode();

    [Theory]
    [MemberData(nameof(HomesElsewhere))]
    public async Task Elsewhere_ATypeThatCannotBeCarried_IsRefusedAtTheCall_AndNamesTheMember(Home home)
    {
        Workers workers = Make(home, new() { Count = 1 });

        ItemCodecException argument = Assert.Throws<ItemCodecException>(() => { _ = workers.SubmitAsync(static (x, _) => x.Content.Length, new HasStream(Stream.Null)); });
        Assert.Contains("HasStream.Content", argument.Message, StringComparison.Ordinal);
        Assert.Throws<ItemCodecException>(() => { _ = workers.SubmitAsync(static (x, _) => new HasStream(Stream.Null), 1); });
        Assert.Contains("WorkersOptions", Assert.Throws<ItemCodecException>(() => { _ = workers.SubmitAsync(static (x, _) => new object(), 1); }).Message, StringComparison.Ordinal);

        Assert.Equal(1, await workers.SubmitAsync(static (x, _) => x, 1).Within());
    }

    [Theory] // S38
    [MemberData(nameof(HomesElsewhere))]
    public async Task Elsewhere_AValueThatCannotBeCarried_FailsItsJobOnly_AndNamesTheMember(Home home)
    {
        Workers workers = Make(home, new() { Count = 1 });

        JobFailedException argument = await Assert.ThrowsAsync<JobFailedException>(() => workers.SubmitAsync(static (_, _) => 1, Node.Cycle()).Within());
        Assert.Contains("Next", Assert.IsType<ItemCodecException>(argument.InnerException).Member, StringComparison.Ordinal);
        Assert.False(argument.IsOutcomeUnknown);

        JobFailedException result = await Assert.ThrowsAsync<JobFailedException>(() => workers.SubmitAsync(static (size, _) => (Circle)new Disc(size), 1).Within());
        Assert.True(result.IsCausedBy<ItemCodecException>());
        Assert.Contains("Disc", result.Message, StringComparison.Ordinal);
        AssertRan(result, home, 2);

        Assert.Equal(1, (await workers.SubmitAsync(static (size, _) => new Circle(size), 1).Within()).Size);
    }

    [Theory] // S38
    [MemberData(nameof(HomesElsewhere))]
    public async Task Elsewhere_AResultThatDoesNotArrive_SaysThatTheJobRan(Home home)
    {
        Workers workers = Make(home, new() { Count = 1, Placement = home == Home.Loopback ? Placement.Loopback : Placement.ChildProcess with { MaxItemSize = 100_000 } });

        JobFailedException cycle = await FailAsync(workers.SubmitAsync(static (_, _) => Node.Cycle(), 0));
        Assert.Contains("Next", Assert.IsType<ItemCodecException>(cycle.InnerException).Member, StringComparison.Ordinal);
        AssertRan(cycle, home, 1);

        JobFailedException picky = await FailAsync(workers.SubmitAsync(static (value, _) => UnmadeTests.Picky.Of(value), -1));
        Assert.Contains("it is negative", picky.Message, StringComparison.Ordinal);
        AssertRan(picky, home, 2);

        if (home == Home.ChildProcess)
        {
            JobFailedException large = await FailAsync(workers.SubmitAsync(static (size, _) => new byte[size], 200_000));
            Assert.Contains("MaxItemSize", large.Message, StringComparison.Ordinal);
            AssertRan(large, home, 3);
        }

        Assert.Equal(home == Home.ChildProcess ? 3 : 2, Log.Records.Count(static r => r.EventId.Id == 26));
        Assert.Contains(Log.Records, r => r.EventId.Id == 26 && r.Message.Contains(picky.Message, StringComparison.Ordinal));
        Assert.Equal(1, (await workers.SubmitAsync(static (value, _) => UnmadeTests.Picky.Of(value), 1).Within()).Value);
        Assert.Throws<ItemCodecException>(() => { _ = workers.SubmitAsync(static (x, _) => new UnmadeTests.Odd(x), 1); });
    }

    [Theory] // S38: it did not run, and the worker lives
    [MemberData(nameof(HomesElsewhere))]
    public async Task Elsewhere_AnArgumentThatCannotBeMadeAgain_SaysThatTheJobDidNotRun(Home home)
    {
        Workers workers = Make(home, new() { Count = 1 });

        JobFailedException failure = await FailAsync(workers.SubmitAsync(static (_, _) => 1, UnmadeTests.Picky.Of(-1)));

        Assert.True(failure.IsCausedBy<ItemCodecException>());
        Assert.False(failure.IsOutcomeUnknown);
        Assert.Equal(1, await workers.SubmitAsync(static (picky, _) => picky.Value, UnmadeTests.Picky.Of(1)).Within());
        Assert.Equal(0, workers.Snapshot().Restarts);
    }

    private static Task<JobFailedException> FailAsync(Task job) => Assert.ThrowsAsync<JobFailedException>(() => job.Within());

    private static void AssertRan(JobFailedException failure, Home home, long number)
    {
        Assert.IsType<ItemCodecException>(failure.InnerException);
        Assert.Equal((true, number), (failure.IsOutcomeUnknown, failure.JobNumber));
        Assert.Equal(home == Home.ChildProcess, failure.ProcessId != Environment.ProcessId);
        Assert.StartsWith($"Job {number} of 'workers' ran in process {failure.ProcessId}, but its result cannot be carried. ", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(HomesElsewhere))]
    public async Task Elsewhere_DerivedTypesAndTheUsersCodec_CarryArgumentsAndResults(Home home)
    {
        Workers workers = Make(home, new() { Count = 1, DerivedTypes = [typeof(Circle), typeof(Disc)], ItemCodec = static () => new NodeCodec() });

        Assert.IsType<Disc>(await workers.SubmitAsync(static (shape, _) => (Shape)new Disc(shape.Size + 1), (Shape)new Circle(1)).Within());
        Assert.NotNull((await workers.SubmitAsync(static (node, _) => new Node { Next = node }, new Node()).Within()).Next);
    }

    private sealed class NodeCodec : IItemCodec
    {
        public bool CanCarry(Type type) => !type.IsValueType && type != typeof(Shape);

        public void Write<T>(System.Buffers.IBufferWriter<byte> target, T value)
        {
            target.GetSpan(1)[0] = (value as Node)?.Next is null ? (byte)0 : (byte)1;
            target.Advance(1);
        }

        public T Read<T>(System.Buffers.ReadOnlySequence<byte> source) => (T)(object)new Node { Next = source.FirstSpan[0] == 0 ? null : new Node() };
    }

    [Theory] // S38
    [MemberData(nameof(Homes))]
    public async Task Null_IsRefusedAtTheCall(Home home)
    {
        Workers workers = Make(home, new() { Count = 1 });
        Assert.Equal("work", Assert.Throws<ArgumentNullException>(() => { _ = workers.SubmitAsync((Func<int, CancellationToken, int>)null!, 1); }).ParamName);
        Assert.Equal("work", Assert.Throws<ArgumentNullException>(() => { _ = workers.SubmitAsync((Action<int, CancellationToken>)null!, 1); }).ParamName);
        Assert.Equal("arguments", Assert.Throws<ArgumentNullException>(() => workers.MapAsync(static (x, _) => x, (int[])null!)).ParamName);
        Assert.Throws<ArgumentOutOfRangeException>(() => { _ = workers.StopAsync(TimeSpan.FromSeconds(-1)); });
        await workers.CompleteAsync().Within();
    }

    [Fact]
    [SuppressMessage("Usage", "VSTHRD101:Avoid unsupported async delegates", Justification = "It is what is refused; it never runs.")]
    public async Task AnAsyncVoidJob_IsRefused()
    {
        Workers workers = Make(Home.InProcess, new() { Count = 1 });
        ArgumentException refused = Assert.Throws<ArgumentException>(() => { _ = workers.SubmitAsync((Action<int, CancellationToken>)(async (_, _) => await Task.Yield()), 1); });
        Assert.Contains("async void", refused.Message, StringComparison.Ordinal);
        await workers.CompleteAsync().Within();
    }

    [Fact]
    public void WrongOptions_AreReportedTogether_EachWithItsValueAndRange()
    {
        IReadOnlyList<string> problems = ProblemsOf(new()
        {
            Name = " ",
            Count = 4,
            BoundedCapacity = 3,
            JobTimeout = TimeSpan.Zero,
            DerivedTypes = null!,
            Placement = Placement.ChildProcess with { OnLoss = LossPolicy.Fault },
            OnLoss = LossPolicy.Restart(),
        });

        string[] expected = ["Name is empty", "BoundedCapacity is 3; it must be at least Count (4)", "JobTimeout is 00:00:00; it must be positive", "DerivedTypes is null", "OnLoss is set"];
        Assert.Equal(expected.Length, problems.Count);
        Assert.All(expected.Zip(problems), static p => Assert.StartsWith($"WorkersOptions: {p.First}", p.Second, StringComparison.Ordinal));
        Assert.StartsWith("WorkersOptions: Count is 0; it must be at least 1", Assert.Single(ProblemsOf(new() { Count = 0 })), StringComparison.Ordinal);
        Assert.StartsWith("WorkersOptions: Placement is null", Assert.Single(ProblemsOf(new() { Placement = null! })), StringComparison.Ordinal);
        Assert.StartsWith("WorkersOptions: AbortTimeout is", Assert.Single(ProblemsOf(new() { AbortTimeout = TimeSpan.FromSeconds(-1) })), StringComparison.Ordinal);
        Assert.Contains("StopGrace", Assert.Single(ProblemsOf(new() { Placement = Placement.ChildProcess with { StopGrace = TimeSpan.FromSeconds(-1) } })), StringComparison.Ordinal);
    }

    private static IReadOnlyList<string> ProblemsOf(WorkersOptions options) => Assert.Throws<PipelineBuildException>(() => { _ = Workers.Create(options); }).Problems;
}
