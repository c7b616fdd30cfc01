using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>What cannot work is refused at the call or by <c>Build()</c>, with the stage and the way out.</summary>
[SuppressMessage("Usage", "VSTHRD101:Avoid unsupported async delegates", Justification = "They are what Build() refuses; none of them runs.")]
public sealed class BadInputTests : PipelineTest
{
    private static PipelineBuilder<NoInput, int> Numbers => Pipeline.From([1, 2, 3], new() { Name = "numbers" });

    public static TheoryData<string, StageOptions, string[]> BadStageOptions => new()
    {
        { "BoundedCapacity 0", new() { Name = "s", BoundedCapacity = 0 }, ["'s'", "BoundedCapacity is 0", "at least 1"] }, // Puma 11
        { "BoundedCapacity -1", new() { Name = "s", BoundedCapacity = -1 }, ["'s'", "BoundedCapacity is -1", "at least 1"] },
        { "empty Name", new() { Name = " " }, ["'transform'", "Name is empty", "null for 'transform'"] },
        { "MaxDegreeOfParallelism 0", new() { Name = "s", MaxDegreeOfParallelism = 0 }, ["'s'", "MaxDegreeOfParallelism is 0", "at least 1"] },
        { "MaxDegreeOfParallelism -1", new() { Name = "s", MaxDegreeOfParallelism = -1 }, ["'s'", "MaxDegreeOfParallelism is -1", "at least 1"] },
        { "capacity below parallelism", new() { Name = "s", MaxDegreeOfParallelism = 4, BoundedCapacity = 3 }, ["'s'", "(4)", "(3)", "Raise BoundedCapacity"] }, // S34
        { "ItemTimeout 0", new() { Name = "s", ItemTimeout = TimeSpan.Zero }, ["'s'", "ItemTimeout is 00:00:00", "positive"] }, // Puma 38
        { "ItemTimeout -1", new() { Name = "s", ItemTimeout = TimeSpan.FromSeconds(-1) }, ["'s'", "ItemTimeout is -00:00:01", "positive"] },
        { "ItemTimeout too long", new() { Name = "s", ItemTimeout = TimeSpan.MaxValue }, ["'s'", "ItemTimeout", "at most 49."] },
        { "ErrorPolicy null", new() { Name = "s", ErrorPolicy = null! }, ["'s'", "ErrorPolicy is null", "ErrorPolicy.Fault"] },
        { "ErrorPolicy of another item type", new() { Name = "s", ErrorPolicy = ErrorPolicy.DeadLetter(new BufferBlock<DeadLetter<string>>()) }, ["'s'", "String", "Int32", "DeadLetter<Int32>"] }, // S35
        { "FullMode inside", new() { Name = "s", FullMode = FullMode.DropNewest }, ["'s'", "FullMode", "WhenFull"] },
        { "SendTimeout inside", new() { Name = "s", SendTimeout = TimeSpan.FromSeconds(1) }, ["'s'", "SendTimeout", "Accept"] },
        { "CompleteWithLastSender inside", new() { Name = "s", CompleteWithLastSender = true }, ["'s'", "CompleteWithLastSender", "Accept"] },
        { "unknown FanIn", new() { Name = "s", FanIn = (FanIn)77 }, ["'s'", "FanIn is 77", "All, Any"] },
        { "FanIn with one input", new() { Name = "s", FanIn = FanIn.Any }, ["'s'", "FanIn is Any", "one input", "Remove it"] }, // S13
    };

    public static TheoryData<string, PipelineOptions, string[]> BadPipelineOptions => new()
    {
        { "empty Name", new() { Name = "" }, ["Name is empty"] },
        { "TimeProvider null", new() { TimeProvider = null! }, ["TimeProvider is null", "TimeProvider.System"] },
        { "DefaultPlacement null", new() { DefaultPlacement = null! }, ["DefaultPlacement is null", "Placement.InProcess"] },
        { "AbortTimeout -1", new() { AbortTimeout = TimeSpan.FromSeconds(-1) }, ["AbortTimeout is -00:00:01", "negative"] },
        { "AbortTimeout too long", new() { AbortTimeout = TimeSpan.MaxValue }, ["AbortTimeout", "at most 49."] },
        { "DrainTimeout 0", new() { DrainTimeout = TimeSpan.Zero }, ["DrainTimeout is 00:00:00", "positive"] },
        { "DrainTimeout too long", new() { DrainTimeout = TimeSpan.MaxValue }, ["DrainTimeout", "at most 49."] },
        { "StallTimeout 0", new() { StallTimeout = TimeSpan.Zero }, ["StallTimeout is 00:00:00", "InfiniteTimeSpan"] },
        { "StallTimeout too long", new() { StallTimeout = TimeSpan.MaxValue }, ["StallTimeout", "at most 49."] },
        { "unknown FaultMode", new() { FaultMode = (FaultMode)9 }, ["FaultMode is 9", "DrainDownstream"] },
        { "unknown Links", new() { Links = (LinkKind)9 }, ["Links is 9", "Burst, BufferBlock"] },
    };

    [Theory] // Puma 11, 38
    [MemberData(nameof(BadStageOptions), DisableDiscoveryEnumeration = true)]
    public void StageOptions_OutOfRange_AreRefusedByBuild(string what, StageOptions options, string[] expected) =>
        AssertProblem(what, Numbers.Transform(static x => x + 1, options).ForEach(static _ => { }), null, expected);

    [Theory] // Puma 38
    [MemberData(nameof(BadPipelineOptions), DisableDiscoveryEnumeration = true)]
    public void PipelineOptions_OutOfRange_AreRefusedByBuild(string what, PipelineOptions options, string[] expected)
    {
        var error = Assert.Throws<PipelineBuildException>(() => Numbers.ForEach(static _ => { }).Build(options));
        AssertContains(what, error.Problems[0], expected);
    }

    [Fact]
    public void Entry_OptionsOutOfRange_AreRefusedByBuild()
    {
        AssertProblem("send time-out", Pipeline.Accept<int>(new() { Name = "in", SendTimeout = TimeSpan.Zero }).ForEach(static _ => { }), null, "'in'", "SendTimeout is 00:00:00", "positive");
        AssertProblem("capacity", Pipeline.Accept<int>(new() { Name = "in", BoundedCapacity = 0 }).ForEach(static _ => { }), null, "'in'", "BoundedCapacity is 0", "at least 1");
        AssertProblem("full mode", Pipeline.Accept<int>(new() { Name = "in", FullMode = (FullMode)(-1) }).ForEach(static _ => { }), null, "'in'", "FullMode is -1", "DropOldest"); // Puma 38
        AssertProblem("capacity below parallelism", Pipeline.Accept<int>(new() { Name = "in", BoundedCapacity = 2 }).ForEach(static _ => { }, new() { Name = "work", MaxDegreeOfParallelism = 3 }), null, "'work'", "holds 2", "3 instances", "entry");
    }

    [Fact]
    public void OptionsWithoutEffect_AreRefusedByBuild()
    {
        AssertProblem("policy", Numbers.Batch(2, options: new() { Name = "b", ErrorPolicy = ErrorPolicy.Skip }).ForEach(static _ => { }), null, "'b'", "ErrorPolicy has no effect", "Remove it");
        AssertProblem("item time-out", Numbers.Batch(2, options: new() { Name = "b", ItemTimeout = TimeSpan.FromSeconds(1) }).ForEach(static _ => { }), null, "'b'", "ItemTimeout has no effect", "Remove it");
        AssertProblem("own thread", Numbers.Batch(2, options: new() { Name = "b", OwnThread = true }).ForEach(static _ => { }), null, "'b'", "OwnThread has no effect", "Remove it");
        AssertProblem("ticks", Numbers.Batch(2, options: new() { Name = "b", TickInterval = TimeSpan.FromSeconds(1) }).ForEach(static _ => { }), null, "'b'", "TickInterval has no effect", "Remove it");
        AssertProblem("parallel batch", Numbers.Batch(2, options: new() { Name = "b", MaxDegreeOfParallelism = 2 }).ForEach(static _ => { }), null, "'b'", "MaxDegreeOfParallelism is 2", "one instance");
        AssertProblem("parallel instance", Numbers.Then(new Doubler(), new() { Name = "d", MaxDegreeOfParallelism = 2 }).ForEach(static _ => { }), null, "'d'", "an instance, not a factory", "pass a factory");
    }

    [Fact]
    public void Ticks_OfAStageThatRunsNoRunnable_AreRefusedByBuild()
    {
        StageOptions ticks = new() { Name = "s", TickInterval = TimeSpan.FromSeconds(1) };

        AssertProblem("transform", Numbers.Transform(static x => x, ticks).ForEach(static _ => { }), null, "'s'", "TickInterval has no effect on a transform stage", "only a runnable ticks", "Remove it.");
        AssertProblem("for-each", Numbers.ForEach(static _ => { }, ticks), null, "'s'", "TickInterval has no effect on a for-each stage", "Remove it.");
        AssertProblem("sequence", Pipeline.From([1], ticks).ForEach(static _ => { }), null, "'s'", "TickInterval has no effect on a from stage", "Remove it.");
        AssertProblem("paused", Numbers.Tap(static _ => { }, new() { Name = "s", TicksPaused = true }).ForEach(static _ => { }), null, "'s'", "TicksPaused has no effect on a tap stage", "Remove it.");
        AssertProblem("both", Numbers.Tap(static _ => { }, ticks with { TicksPaused = true }).ForEach(static _ => { }), null, "'s'", "TickInterval has no effect on a tap stage", "Remove it, and TicksPaused.");
        Numbers.Then(static () => new Doubler(), ticks with { TicksPaused = true }).ForEach(static _ => { }).Build();
        Numbers.Then(new Doubler(), new() { TicksPaused = true }).ForEach(static _ => { }).Build();
        Pipeline.Of(static () => new Ticking(static _ => { }), ticks).Build();
    }

    [Fact] // Puma 74
    public void TickInterval_OutOfRange_IsRefusedByBuild()
    {
        AssertProblem("0", Numbers.Then(new Doubler(), new() { Name = "d", TickInterval = TimeSpan.Zero }).ForEach(static _ => { }), null, "'d'", "TickInterval is 00:00:00", "positive", "or null for no ticks.");
        AssertProblem("-1", Numbers.Then(new Doubler(), new() { Name = "d", TickInterval = TimeSpan.FromSeconds(-1) }).ForEach(static _ => { }), null, "'d'", "TickInterval is -00:00:01", "positive");
    }

    [Fact]
    public void Names_Duplicate_AreRefusedByBuild() =>
        AssertProblem("twice", Numbers.Transform(static x => x, new() { Name = "same" }).Where(static _ => true, new() { Name = "same" }).ForEach(static _ => { }), null, "2 stages", "'same'", "a name of its own");

    [Fact] // S34
    public void Batch_LargerThanTheCapacity_IsRefusedByBuild() =>
        AssertProblem("batch", Numbers.Batch(10, options: new() { Name = "b", BoundedCapacity = 9 }).ForEach(static _ => { }), null, "'b'", "holds 9", "10", "Raise BoundedCapacity to at least 10");

    [Fact]
    public void Numbers_OutOfRange_AreRefusedAtTheCall()
    {
        Assert.Throws<ArgumentOutOfRangeException>("count", () => Numbers.Batch(0));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => Numbers.Batch(-1));
        Assert.Throws<ArgumentOutOfRangeException>("maxAge", () => Numbers.Batch(1, TimeSpan.Zero));
        Assert.Throws<ArgumentOutOfRangeException>("maxAge", () => Numbers.Batch(1, TimeSpan.FromSeconds(-1)));
        Assert.Throws<ArgumentOutOfRangeException>("maxAge", () => Numbers.Batch(1, TimeSpan.MaxValue));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => Numbers.Take(-1));
        Assert.Throws<ArgumentOutOfRangeException>("times", () => ErrorPolicy.Retry(0));
        Assert.Throws<ArgumentOutOfRangeException>("times", () => ErrorPolicy.Retry(-1));
        Assert.Throws<ArgumentOutOfRangeException>("delay", () => Backoff.Constant(TimeSpan.FromTicks(-1)));
        Assert.Throws<ArgumentOutOfRangeException>("delay", () => Backoff.Constant(TimeSpan.MaxValue));
        Assert.Throws<ArgumentOutOfRangeException>("first", () => Backoff.Exponential(TimeSpan.Zero));
        Assert.Throws<ArgumentOutOfRangeException>("max", () => Backoff.Exponential(TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(1)));
        Assert.Throws<ArgumentOutOfRangeException>("max", () => Backoff.Exponential(TimeSpan.FromSeconds(2), TimeSpan.MaxValue));
    }

    [Fact] // S35
    public void ErrorPolicies_ThatCannotFollowEachOther_AreRefusedAtTheCall()
    {
        Assert.Contains("Only Retry", Assert.Throws<ArgumentException>(static () => ErrorPolicy.Skip.Then(ErrorPolicy.Fault)).Message, StringComparison.Ordinal);
        Assert.Contains("more attempts", Assert.Throws<ArgumentException>(static () => ErrorPolicy.Retry(1).Then(ErrorPolicy.Retry(2))).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(static () => ErrorPolicy.Retry(1).Then(ErrorPolicy.Skip).Then(ErrorPolicy.Fault));
    }

    [Fact] // S31
    public void Retry_OnAnAsynchronousStream_IsRefusedByBuild() =>
        AssertProblem("retry", Numbers.TransformMany(static x => ManyAsync(x), new() { Name = "many", ErrorPolicy = ErrorPolicy.Retry(1) }).ForEach(static _ => { }), null, "'many'", "retry", "IAsyncEnumerable", "Return IEnumerable");

    [Fact]
    public void Builder_UsedTwice_IsRefusedAtTheCall()
    {
        PipelineBuilder<NoInput, int> builder = Numbers;
        builder.ForEach(static _ => { });

        AssertUsedTwice(() => builder.Transform(static x => x));
        AssertUsedTwice(() => builder.ForEach(static _ => { }));
        AssertUsedTwice(() => builder.Then(new Doubler()));
        AssertUsedTwice(() => builder.PartitionBy(static x => x).Then(static () => new Doubler()));
        AssertUsedTwice(() => builder.Broadcast(static b => b.ForEach(static _ => { })));
        AssertUsedTwice(() => builder.Route());
        AssertUsedTwice(() => builder.Merge(Numbers));
        AssertUsedTwice(() => Numbers.Merge(builder));
        AssertUsedTwice(() => Pipeline.Join(Numbers, builder));
        AssertUsedTwice(() => builder.Batch(1));
        AssertUsedTwice(() => builder.Take(1));
        AssertUsedTwice(() => builder.OfType<int>());
        AssertUsedTwice(() => builder.Through(new BufferBlock<int>()));
        AssertUsedTwice(() => builder.To(new BufferBlock<int>()));
        AssertUsedTwice(() => builder.Into(static () => new Ports(), static r => r.First));
        AssertUsedTwice(() => builder.ToAsyncEnumerable());
        AssertUsedTwice(() => builder.AsBlock());

        static void AssertUsedTwice(Func<object> use)
        {
            var error = Assert.Throws<InvalidOperationException>(use);
            AssertContains("builder", error.Message, "'numbers'", "already continued by a for-each stage", "Use Broadcast");
        }
    }

    [Fact]
    public void Route_UsedTwice_IsRefusedAtTheCall()
    {
        RouteBuilder<NoInput, int> route = Numbers.Route(new() { Name = "r" });
        route.Otherwise(static b => b.ForEach(static _ => { }));
        AssertContains("again", Assert.Throws<InvalidOperationException>(() => route.Otherwise(static b => b.ForEach(static _ => { }))).Message, "'r'", "finished by Otherwise");
        AssertContains("late When", Assert.Throws<InvalidOperationException>(() => route.When(static _ => true, static b => b.ForEach(static _ => { }))).Message, "'r'", "before Otherwise");
        Assert.Throws<InvalidOperationException>(() => route.Otherwise(static b => b));

        RouteBuilder<NoInput, int> first = Numbers.Route(new() { Name = "r" });
        RouteBuilder<NoInput, int, int> merged = first.When(static _ => true, static b => b.Transform(static x => x));
        AssertContains("left behind", Assert.Throws<InvalidOperationException>(() => first.When(static _ => true, static b => b.ForEach(static _ => { }))).Message, "'r'", "one chain");
        Assert.Throws<InvalidOperationException>(() => first.Otherwise(static b => b));
        merged.Otherwise(static b => b);
        Assert.Throws<InvalidOperationException>(() => merged.When(static _ => true, static b => b));
        Assert.Throws<InvalidOperationException>(() => merged.When(static _ => true, static b => b.ForEach(static _ => { })));
        Assert.Throws<InvalidOperationException>(() => merged.Otherwise(static b => b));
        Assert.Throws<InvalidOperationException>(() => merged.Otherwise(static b => b.ForEach(static _ => { })));
    }

    [Fact]
    public void Route_Unfinished_IsRefusedByBuild()
    {
        PortBuilder<NoInput, Ports> ports = Numbers.Into(static () => new Ports(), static r => r.First, new() { Name = "p" }).From(static r => r.Second, Pipeline.From(["a"]));
        ports.Continue(static r => r.Out).Route(new() { Name = "r" }).When(static _ => true, static b => b.ForEach(static _ => { }));

        AssertProblem("route", ports.End(), null, "'r'", "no Otherwise", "Say what happens");
    }

    [Fact]
    public void Output_LeadingNowhere_IsRefusedByBuild()
    {
        PortBuilder<NoInput, Ports> ports = Numbers.Into(static () => new Ports(), static r => r.First, new() { Name = "p" }).From(static r => r.Second, Pipeline.From(["a"]));
        ports.Continue(static r => r.Out).Transform(static x => x, new() { Name = "loose" });

        AssertProblem("loose end", ports.End(), null, "'loose'", "leads nowhere", "end it with ForEach or To");
    }

    [Fact]
    public void Branch_NotConnected_IsRefusedAtTheCall()
    {
        BranchBuilder<int>? other = null;
        Numbers.Broadcast(b =>
        {
            other = b;
            return b.ForEach(static _ => { });
        });
        PipelineEnd<BranchInput> foreign = null!;
        Numbers.Broadcast(b => foreign = b.ForEach(static _ => { }));

        AssertContains("null end", Assert.Throws<ArgumentException>(() => Numbers.Broadcast(static b => null!)).Message, "Branch 1", "broadcast", "b => b.ForEach(...)");
        AssertContains("another end", Assert.Throws<ArgumentException>(() => Numbers.Broadcast(static b => b.ForEach(static _ => { }), b => foreign)).Message, "Branch 2", "not connected");
        Assert.Throws<ArgumentNullException>("branch", () => Numbers.Broadcast([null!]));
        AssertContains("route", Assert.Throws<ArgumentException>(() => Numbers.Route().When(static _ => true, b => foreign)).Message, "Branch 1", "route", "not connected");
        AssertContains("merged", Assert.Throws<ArgumentException>(() => Numbers.Route().Otherwise(b => other!)).Message, "route", "not connected");
        AssertContains("null", Assert.Throws<ArgumentException>(() => Numbers.Route().Otherwise(static b => (PipelineBuilder<BranchInput, int>)null!)).Message, "route", "not connected");
        Assert.Throws<ArgumentException>("name", () => Numbers.Broadcast(static b => b.Named(" ").ForEach(static _ => { })));
    }

    [Fact]
    public void Branch_OptionsOutOfRange_AreRefusedByBuild()
    {
        AssertProblem("capacity 0", Numbers.Broadcast(static b => b.WhenFull(FullMode.DropNewest, 0).ForEach(static _ => { }, new() { Name = "audit" })), null, "'audit'", "capacity 0", "at least 1");
        AssertProblem("capacity -1", Numbers.Broadcast(static b => b.WhenFull(FullMode.Wait, -1).ForEach(static _ => { }, new() { Name = "audit" })), null, "'audit'", "capacity -1", "at least 1");
        AssertProblem("full mode", Numbers.Broadcast(static b => b.WhenFull((FullMode)42).ForEach(static _ => { }, new() { Name = "audit" })), null, "'audit'", "42", "DropOldest");
        AssertProblem("batch", Numbers.Broadcast(static b => b.WhenFull(FullMode.Wait, 3).Batch(4, options: new() { Name = "b" }).ForEach(static _ => { })), null, "'b'", "holds 3", "4");
    }

    [Fact] // S19
    public void Branch_OptionalThatJoinsAgain_IsRefusedByBuild() =>
        AssertProblem("optional", Numbers.Route().When(static x => x > 1, static b => b.Optional().Transform(static x => x, new() { Name = "risky" })).Otherwise(static b => b.Transform(static x => x)).ForEach(static _ => { }), null, "'risky'", "optional", "joins the rest", "do not make it optional");

    [Fact] // Puma 96
    public void Ports_NotConnected_AreRefusedByBuild()
    {
        PipelineEnd<NoInput> end = Numbers.Into(static () => new Ports(), static r => r.First, new() { Name = "p" }).End();

        var error = Assert.Throws<PipelineBuildException>(() => end.Build());

        Assert.Equal(2, error.Problems.Count);
        AssertContains("input", error.Problems[0], "'p'", "input 'Second' is not connected", "From(r => r.Second");
        AssertContains("output", error.Problems[1], "'p'", "output 'Out' is not connected", "Branch(r => r.Out", "Continue(r => r.Out)");
    }

    [Fact] // Puma 96
    public void Ports_ConnectedTwice_AreRefusedAtTheCall()
    {
        PortBuilder<NoInput, Ports> ports = Numbers.Into(static () => new Ports(), static r => r.First);

        AssertContains("input", Assert.Throws<ArgumentException>(() => ports.From(static r => r.First, Numbers)).Message, "Ports.First", "connected already", "Merge");
        ports.Branch(static r => r.Out, static b => b.ForEach(static _ => { }));
        AssertContains("output", Assert.Throws<ArgumentException>(() => ports.Continue(static r => r.Out)).Message, "Ports.Out", "connected already", "Broadcast");
        AssertContains("no property", Assert.Throws<ArgumentException>(() => ports.From(static r => new Input<int>((_, _) => default), Numbers)).Message, "does not name a property", "r => r.PropertyName");
    }

    [Fact]
    public async Task Ports_ThatWereNotMade_FailTheStart()
    {
        ExpectFailure();
        PipelineRun run = Start(Numbers.Into(static () => new LazyPorts(), static r => r.In, new() { Name = "p" }).End());

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Started.Within());

        await run.Report.Within();
        AssertContains("null port", fault.Message, "'p'", "LazyPorts.In is null", "constructor");
    }

    [Fact]
    public void Delegates_WhoseWorkNobodyWouldAwait_AreRefusedByBuild()
    {
        AssertProblem("async void", Numbers.ForEach((Action<int>)(async _ => await Task.Yield()), new() { Name = "s" }), null, "'s'", "async void", "Return a Task");
        AssertProblem("async void tap", Numbers.Tap((Action<int>)(async _ => await Task.Yield()), new() { Name = "s" }).ForEach(static _ => { }), null, "'s'", "async void");
        AssertProblem("async void with token", Numbers.ForEach((Action<int, CancellationToken>)(async (_, _) => await Task.Yield()), new() { Name = "s" }), null, "'s'", "async void");
        AssertProblem("awaitable", Numbers.ForEach(static _ => Task.CompletedTask.ConfigureAwait(false), new() { Name = "s" }), null, "'s'", "ConfiguredTaskAwaitable", "would be dropped", "Await it");
        AssertProblem("own awaitable", Numbers.Tap(static _ => new OwnAwaitable(), new() { Name = "s" }).ForEach(static _ => { }), null, "'s'", "OwnAwaitable", "would be dropped");
        AssertProblem("awaitable with token", Numbers.ForEach(static (_, _) => Task.CompletedTask.ConfigureAwait(false), new() { Name = "s" }), null, "'s'", "ConfiguredTaskAwaitable", "would be dropped");
        AssertProblem("awaitable with token, tap", Numbers.Tap(static (_, _) => new OwnAwaitable(), new() { Name = "s" }).ForEach(static _ => { }), null, "'s'", "OwnAwaitable", "would be dropped");
    }

    [Fact]
    public void Instance_InTwoStages_IsRefusedByBuild()
    {
        var runnable = new Doubler();
        AssertProblem("runnable", Numbers.Then(runnable, new() { Name = "a" }).Then(runnable, new() { Name = "b" }).ForEach(static _ => { }), null, "'a' and 'b'", "same instance (Doubler)", "a factory");
        var block = new BufferBlock<int>();
        AssertProblem("block", Numbers.Broadcast(b => b.To(block, new() { Name = "a" }), b => b.To(block, new() { Name = "b" })), null, "'a' and 'b'", "BufferBlock", "Merge");
        Channel<int> channel = Channel.CreateUnbounded<int>();
        AssertProblem("channel", Numbers.Broadcast(b => b.To(channel.Writer, new() { Name = "a" }), b => b.To(channel.Writer, new() { Name = "b" })), null, "'a' and 'b'", "same instance");
    }

    [Fact]
    public async Task Instance_StartedTwice_IsRefusedAtTheStart()
    {
        ExpectFailure();
        Pipeline pipeline = Numbers.Then(new Doubler(), new() { Name = "d" }).ForEach(static _ => { }).Build(Options);
        await Watch(pipeline.Start()).Completion.Within();
        AssertContains("second run", Assert.Throws<InvalidOperationException>(() => pipeline.Start()).Message, "once only", "'d'", "Doubler", "factory");

        var shared = new Doubler();
        PipelineRun run = Start(Numbers.Then(() => shared, new() { Name = "pool", MaxDegreeOfParallelism = 2 }).ForEach(static _ => { }));
        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Started.Within());
        AssertContains("shared", fault.Message, "'pool'", "Doubler has been started before", "must return a new one");
        await run.Report.Within();
    }

    [Fact]
    public async Task Factory_ReturningNull_FailsTheStart()
    {
        ExpectFailure();
        PipelineRun run = Start(Numbers.Then(static () => (Doubler)null!, new() { Name = "d" }).ForEach(static _ => { }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Started.Within());

        await run.Report.Within();
        AssertContains("null", fault.Message, "'d'", "returned null", "Return a new runnable");
    }

    [Fact]
    public void Ends_OfTheWrongKind_AreRefusedAtTheCall()
    {
        Assert.Contains("PipelineEnd<NoInput>", Assert.Throws<InvalidOperationException>(static () => BuildAny(Numbers.ForEach(static _ => { }))).Message, StringComparison.Ordinal);
        Assert.Contains("source of its own", Assert.Throws<InvalidOperationException>(static () => Numbers.ForEach(static _ => { }).AsBlock()).Message, StringComparison.Ordinal);
        Assert.Contains("source of its own", Assert.Throws<InvalidOperationException>(static () => Numbers.AsPart()).Message, StringComparison.Ordinal);
        Assert.Contains("at least one stage", Assert.Throws<InvalidOperationException>(static () => Pipeline.Accept<int>().AsPart()).Message, StringComparison.Ordinal);
        Assert.Contains("A branch is part", Assert.Throws<InvalidOperationException>(static () => Numbers.Broadcast(static b =>
        {
            b.ForEach(static _ => { }).Build();
            return null!;
        })).Message, StringComparison.Ordinal);
        Assert.Contains("A branch is part", Assert.Throws<InvalidOperationException>(static () => Numbers.Broadcast(static b =>
        {
            b.AsBlock();
            return null!;
        })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Build_SeveralProblems_ReportsThemAllAtOnce()
    {
        PipelineEnd<NoInput> end = Numbers
            .Transform(static x => x, new() { Name = "same", BoundedCapacity = 0, ItemTimeout = TimeSpan.Zero })
            .Where(_ => this is null, new() { Name = "same", Placement = Placement.Loopback })
            .Batch(1000, options: new() { Name = "batch" })
            .ForEach((Action<int[]>)(async _ => await Task.Yield()), new() { Name = "sink", MaxDegreeOfParallelism = -3 });

        var error = Assert.Throws<PipelineBuildException>(() => end.Build(new() { DrainTimeout = TimeSpan.Zero }));

        Assert.Equal(8, error.Problems.Count);
        Assert.Contains("8 problems", error.Message, StringComparison.Ordinal);
        Assert.All(error.Problems, p => Assert.Contains(p, error.Message, StringComparison.Ordinal));
        AssertContains("all", error.Message, "'same'", "BoundedCapacity is 0", "ItemTimeout", "Loopback", "'batch'", "MaxDegreeOfParallelism is -3", "async void", "DrainTimeout");
    }

    [Fact] // Puma 74
    public async Task TickInterval_ChangedToNonsenseWhileRunning_ThrowsInTheCaller()
    {
        TickSchedule? ticks = null;
        PipelineRun run = Start(Pipeline.Of(() => new Ticking(t => ticks = t)));
        await run.Started.Within();

        Assert.Throws<ArgumentOutOfRangeException>(() => ticks!.Interval = TimeSpan.Zero);
        Assert.Throws<ArgumentOutOfRangeException>(() => ticks!.Interval = TimeSpan.FromSeconds(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => ticks!.Interval = TimeSpan.MaxValue);
        Assert.Null(ticks!.Interval);
        Assert.Equal(RunState.Running, run.State);
        run.Complete();
        await run.Completion.Within();
    }

    [Fact]
    public async Task Run_BadArguments_AreRefusedAtTheCall()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static _ => { }, new() { Name = "sink" }));

        AssertContains("no such stage", Assert.Throws<ArgumentException>("name", () => run.Stage("snk")).Message, "'snk'", "entry, sink");
        Assert.Throws<ArgumentException>("name", () => run.Snapshot().Stage("snk"));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>("deadline", () => run.StopAsync(TimeSpan.FromSeconds(-1)));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>("deadline", () => run.StopAsync(TimeSpan.MaxValue));
        Assert.Throws<ArgumentNullException>(() => run.Fault(null!));
        Assert.Equal(RunState.Running, run.State);
        await run.SendAsync(1);
        run.Complete();
        await run.Completion.Within();
    }

    private static Pipeline BuildAny<TIn>(PipelineEnd<TIn> end) => end.Build();

    private static void AssertProblem(string what, PipelineEnd<int> end, PipelineOptions? options, params string[] expected) =>
        AssertProblem(what, Assert.Throws<PipelineBuildException>(() => end.Build(options)), expected);

    private static void AssertProblem(string what, PipelineEnd<NoInput> end, PipelineOptions? options, params string[] expected) =>
        AssertProblem(what, Assert.Throws<PipelineBuildException>(() => end.Build(options)), expected);

    private static void AssertProblem(string what, PipelineBuildException error, string[] expected)
    {
        AssertContains(what, Assert.Single(error.Problems), expected);
        Assert.Equal(error.Problems[0], error.Message);
    }

    private static void AssertContains(string what, string text, params string[] expected)
    {
        foreach (string part in expected)
            Assert.True(text.Contains(part, StringComparison.Ordinal), $"{what}: '{text}' does not say '{part}'.");
    }

    private static async IAsyncEnumerable<int> ManyAsync(int item)
    {
        await Task.Yield();
        yield return item;
    }

    private sealed class OwnAwaitable
    {
        public TaskAwaiter GetAwaiter() => Task.CompletedTask.GetAwaiter();
    }

    private sealed class Doubler : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item * 2, cancellationToken);
    }

    private sealed class Ticking(Action<TickSchedule> started) : CommandRunnable
    {
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            started(Context.Ticks);
            return default;
        }
    }

    private sealed class Ports : PortRunnable
    {
        public Input<int> First { get; } = new((_, _) => default);

        public Input<string> Second { get; } = new((_, _) => default);

        public Output<int> Out { get; } = new();
    }

    private sealed class LazyPorts : PortRunnable
    {
        public Input<int> In { get; set; } = null!;
    }
}
