using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What cannot run in another process is refused by <c>Build()</c>, with the stage, the reason and what to do.</summary>
public sealed class IsolationRulesTests : PipelineTest
{
    public static TheoryData<Placement> Elsewhere => [Placement.ChildProcess, Placement.Loopback];

    private int _field = 1;

    [Theory]
    [MemberData(nameof(Elsewhere))]
    public void ACapturingDelegate_IsRefused_WithWhatItCaptures(Placement placement)
    {
        int offset = 5;
        string label = "x";

        string problem = Problem(Ints.Transform(x => x + offset + label.Length, Far(placement)));

        Assert.Contains("'far'", problem, StringComparison.Ordinal);
        Assert.Contains("'offset'", problem, StringComparison.Ordinal);
        Assert.Contains("'label'", problem, StringComparison.Ordinal);
        Assert.Contains("Make the lambda static", problem, StringComparison.Ordinal);
    }

    [Fact]
    public void ACapturingDelegate_IsRefused_WithoutTheNamesOfTheCompiler()
    {
        int offset = 5;

        // The inner lambda captures what the outer one does, so the compiler keeps it beside the variable.
        string problem = Problem(Ints.Transform(x => Enumerable.Range(0, x).Count(y => y > offset), Far(Placement.Loopback)));

        Assert.Contains("captures 'offset', which", problem, StringComparison.Ordinal);
        Assert.DoesNotContain("<", problem, StringComparison.Ordinal);
    }

    [Fact]
    public void ACapturingDelegate_IsNotBlamedForWhatOthersCapture()
    {
        // The variables of a scope are kept together, whichever lambda uses them.
        int offset = 5, other = 6;
        Func<int> beside = () => other++;

        string problem = Problem(Ints.Transform(x => x + offset, Far(Placement.Loopback)));

        Assert.Contains("its delegate, or another lambda of its scope, captures '", problem, StringComparison.Ordinal);
        Assert.Contains("'offset'", problem, StringComparison.Ordinal);
        Assert.Contains("'other'", problem, StringComparison.Ordinal);
        Assert.Equal(6, beside());
    }

    [Fact]
    public void ADelegateThatUsesThis_IsRefused()
    {
        _field++;

        Assert.Contains("method", Problem(Ints.Transform(x => x + _field, Far(Placement.ChildProcess))), StringComparison.Ordinal);
    }

    [Fact]
    public void AMethodOfAnObject_IsRefused() =>
        Assert.Contains("Use a static method", Problem(Ints.Transform(new List<int>([1]).IndexOf, Far(Placement.ChildProcess))), StringComparison.Ordinal);

    [Fact]
    public void ADelegateOfSeveralMethods_IsRefused()
    {
        Action<int> both = static _ => { };
        both += static _ => { };

        Assert.Contains("several methods", Problem(Ints.Tap(both, Far(Placement.ChildProcess))), StringComparison.Ordinal);
    }

    [Fact]
    public void ARunnableInstance_IsRefused() =>
        Assert.Contains("static factory", Problem(Ints.Then(new Doubling(), Far(Placement.ChildProcess))), StringComparison.Ordinal);

    [Fact]
    public void AForeignBlockInstance_IsRefused() =>
        Assert.Contains("always runs in this process", Problem(Ints.Through(new TransformBlock<int, int>(static x => x), Far(Placement.ChildProcess))), StringComparison.Ordinal);

    [Fact]
    public void OptionsThatCannotTravel_AreRefused_WithTheirMember() =>
        Assert.Contains("BadOptions.Log", Problem(Ints.Then(static o => new Doubling(o), new BadOptions(TextWriter.Null), Far(Placement.ChildProcess))), StringComparison.Ordinal);

    [Fact]
    public void AnOptionsValueThatCannotTravel_IsRefused_AlthoughItsTypeCould()
    {
        string problem = Problem(Ints.Then(static o => new Doubling(o), new PlainOptions(new DerivedPart()), Far(Placement.ChildProcess)));

        Assert.Contains("PlainOptions.Part", problem, StringComparison.Ordinal);
        Assert.Contains("DerivedPart", problem, StringComparison.Ordinal);
    }

    [Fact]
    public void ItemsThatCannotTravel_AreRefused_WithTheirMember() =>
        Assert.Contains("BadItem.Stream", Problem(Pipeline.Accept<BadItem>().Transform(static x => 1, Far(Placement.ChildProcess))), StringComparison.Ordinal);

    [Fact]
    public void ResultsThatCannotTravel_AreCalledResults()
    {
        string problem = Problem(Ints.Transform(static _ => new BadItem(Stream.Null), Far(Placement.Loopback)));

        Assert.Contains("its results of type BadItem cannot be carried: BadItem.Stream is of type Stream: ", problem, StringComparison.Ordinal);
        Assert.DoesNotContain("items", problem, StringComparison.Ordinal);
    }

    [Fact]
    public void ATypeThatCannotTravelItself_IsToldOnce()
    {
        string problem = Problem(Pipeline.Accept<object>().Transform(static x => x, Far(Placement.Loopback)));

        Assert.Equal(
            "Stage 'far': Placement is Loopback, but its items and results of type Object cannot be carried: what it holds cannot be told. "
            + "Use a base type of your own and list what it may hold in DerivedTypes of PipelineOptions, or of WorkersOptions for jobs.",
            problem);
    }

    [Fact]
    public void TimesOutOfRange_AreToldWithWhatElseTheyMayBe()
    {
        string problem = Problem(Ints.Transform(static x => x, Far(Placement.ChildProcess with { StartTimeout = TimeSpan.Zero, HangTimeout = TimeSpan.Zero }) with { ItemTimeout = TimeSpan.Zero }));

        Assert.Matches(@"StartTimeout is 00:00:00; it must be positive and at most [\d.:]+\d\.(\s|$)", problem);
        Assert.Matches(@"HangTimeout is 00:00:00; it must be positive and at most [\d.:]+\d, or Timeout\.InfiniteTimeSpan for never\.", problem);
        Assert.Matches(@"ItemTimeout is 00:00:00; it must be positive and at most [\d.:]+\d, or null for no limit\.", problem);
    }

    [Fact] // S36
    public void ARestartOfARunnable_NeedsConsent()
    {
        ChildProcessPlacement restarts = Placement.ChildProcess with { OnLoss = LossPolicy.Restart() };

        Assert.Contains("StateLoss.Accepted", Problem(Ints.Then(static () => new Doubling(), Far(restarts))), StringComparison.Ordinal);
        Ints.Then(static () => new Doubling(), Far(restarts with { StateLoss = StateLoss.Accepted })).ForEach(static _ => { }).Build();
        Ints.Transform(static x => x, Far(restarts)).ForEach(static _ => { }).Build();
    }

    [Fact]
    public void SettingsOutOfRange_AreAllTold()
    {
        string problem = Problem(Ints.Transform(static x => x, Far(Placement.ChildProcess with
        {
            StartTimeout = TimeSpan.Zero,
            HangTimeout = TimeSpan.FromSeconds(-5),
            StopGrace = TimeSpan.FromSeconds(-5),
            MemoryLimit = 5,
            MaxItemSize = 5,
            Environment = new Dictionary<string, string?> { ["a=b"] = "c" },
            WorkingDirectory = "/no/such/place",
            OnLoss = null!,
        })));

        Assert.All((string[])["StartTimeout", "HangTimeout", "StopGrace", "MemoryLimit", "MaxItemSize", "Environment", "/no/such/place", "OnLoss"], name => Assert.Contains(name, problem, StringComparison.Ordinal));
    }

    [Fact] // a codec is made in the child too
    public void ACodecThatCannotBeMadeThere_IsRefused()
    {
        int calls = 0;

        string problem = Problem(Ints.Transform(static x => x, Far(Placement.Loopback)), Options with { ItemCodec = () => throw new InvalidOperationException($"{++calls}") });

        Assert.Contains("ItemCodec", problem, StringComparison.Ordinal);
        Assert.Contains("'calls'", problem, StringComparison.Ordinal);
    }

    [Fact]
    public void ADelegate_IsFoundAgainByItsIdentity_ButNotInAnotherBuild()
    {
        var identity = DelegateIdentity.Of(static (int x) => x + 1);

        Assert.Equal(42, ((Func<int, int>)identity.Resolve())(41));
        var error = Assert.Throws<InvalidOperationException>(() => (identity with { Module = Guid.NewGuid() }).Resolve());
        Assert.Contains("another build", error.Message, StringComparison.Ordinal);
        Assert.Equal("5", ((Func<int, string>)DelegateIdentity.Of(GenericMethod<int>).Resolve())(5));
    }

    private static string GenericMethod<T>(T value) => $"{value}";

    private static PipelineBuilder<int, int> Ints => Pipeline.Accept<int>();

    private static StageOptions Far(Placement placement) => new() { Name = "far", Placement = placement };

    private static string Problem<TIn, TOut>(PipelineBuilder<TIn, TOut> builder, PipelineOptions? options = null) =>
        Assert.Throws<PipelineBuildException>(() => builder.ForEach(static _ => { }).Build(options)).Message;

    public sealed record BadOptions(TextWriter Log);

    public sealed record PlainOptions(Part Part);

    public record Part;

    public sealed record DerivedPart : Part;

    public sealed record BadItem(Stream Stream);

    private sealed class Doubling : Runnable<int, int>
    {
        public Doubling(object? options = null) => _ = options;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item * 2, cancellationToken);
    }
}
