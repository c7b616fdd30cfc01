using System.Reflection;
using Puma.Dataflow.Control;
using Puma.Dataflow.Tests.Generators.@namespace;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Generators;

/// <summary>What goes into a generated proxy arrives at the runnable, and comes back.</summary>
public sealed class ProxyTests : PipelineTest
{
    private readonly Hostile _hostile = new();
    private readonly Viewers _viewers = new();
    private readonly PipelineRun _run;
    private readonly @interface _proxy;

    public ProxyTests()
    {
        _run = Start(Pipeline.Accept<int>().Broadcast(
            b => b.To(_hostile, new() { Name = "hostile" }),
            b => b.To(_viewers, new() { Name = "viewers" })));
        _proxy = _run.Control<@interface>("hostile");
    }

    [Fact]
    public async Task MembersWithoutResult_AreCalled()
    {
        using var source = new CancellationTokenSource();

        await _proxy.@class(5, "text");
        await _proxy.@await(source.Token);

        Assert.Equal(["class 5 text", "await"], _hostile.Calls);
        Assert.True(_hostile.LastToken.CanBeCanceled);
    }

    [Fact]
    public async Task Overloads_AreToldApart()
    {
        Assert.Equal("none", await _proxy.Overloaded());
        Assert.Equal("int 1", await _proxy.Overloaded(1));
        Assert.Equal("long 1", await _proxy.Overloaded(1L, CancellationToken.None));
        Assert.Equal("long 1", await _proxy.Overloaded(1L));
        Assert.Equal("object 1", await _proxy.Overloaded((object)1));
        Assert.Equal("array 2", await _proxy.Overloaded([1, 2]));
    }

    [Fact]
    public async Task BasesWithTheSameMember_AreToldApart()
    {
        Assert.Equal("first 1", await ((IFirst)_proxy).Same(1));
        Assert.Equal("second 2", await ((ISecond)_proxy).Same(2));
        Assert.Equal((1, "one"), await ((IEcho<(int, string?)>)_proxy).Echo((1, "one")));
        Assert.Null(await ((IEcho<string?>)_proxy).Echo(null));
        Assert.Equal(["a", null], (await ((IEcho<string?>)_proxy).EchoMany(["a", null]))["all"]);
    }

    [Fact]
    public async Task DefaultMembers_AreForwarded()
    {
        Assert.Equal("of the object", await _proxy.Default());
        Assert.Equal("of the derived interface", await _proxy.OfSecond());
        Assert.Equal("detail", _proxy.NotCalledFromAfar());
    }

    [Fact]
    public async Task NamesThatTheProxyUsesItself_AreNoTrouble()
    {
        Assert.Equal("a b c d e f", await _proxy.Proxy("a", "b", "c", "d", "e", "f", CancellationToken.None));
        Assert.Equal(1, await _proxy.Register());
    }

    [Fact]
    public async Task Arguments_Arrive()
    {
        Assert.Equal(6, await _proxy.Sum(1, 2, 3));
        Assert.Equal("3 null Friday", await _proxy.WithDefaults());
        Assert.Equal("4 n Monday", await _proxy.WithDefaults(CancellationToken.None, 4, "n", DayOfWeek.Monday));
        Assert.Equal("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 q", await _proxy.Many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, "q", CancellationToken.None));
        Assert.Equal((2, ("e", null)), await _proxy.Tuples(("e", ["x", null])));
        Assert.Equal(new(null, 2), await _proxy.Nested(new(null, 2), Outer<string?>.Place.Here));
        Assert.Null(await _proxy.Nested(new(null, 2), Outer<string?>.Place.There));
        Assert.Equal("1  2", (string)await _proxy.Dynamic(1, null, [1, "2"]));
        Assert.Equal("other", await _proxy.Flow(null, "other"));
#pragma warning disable CS0618 // it is called on purpose
        Assert.Equal(7, await _proxy.Old(7));
#pragma warning restore CS0618
    }

    [Fact]
    public async Task ATaskThatIsNotThere_IsAFailureOfTheCall()
    {
        await _proxy.Perhaps(true)!;
        CommandFailedException failure = await Assert.ThrowsAsync<CommandFailedException>(() => _proxy.Perhaps(false)!);
        Assert.Contains("interface.Perhaps", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Streams_AreForwardedWithTheirToken()
    {
        using var source = new CancellationTokenSource();

        Assert.Equal(["x", "x"], await _proxy.Values(2, "x", source.Token).ToListAsync(TestContext.Current.CancellationToken));
        Assert.Equal([(1, 2)], await _proxy.Pairs().ToListAsync(TestContext.Current.CancellationToken));
        Assert.True(_hostile.LastToken.CanBeCanceled);
    }

    [Fact]
    public async Task RemoteObjects_AreLentAndBorrowed()
    {
        IViewers proxy = _run.Control<IViewers>("viewers");
        var given = new Viewer("given", new Viewer("next"));

        await proxy.Attach("a", given, null, CancellationToken.None);
        Assert.False(await proxy.AttachOne(null));
        Assert.Null(await proxy.TryFind("b"));
        IViewer found = await proxy.Find("a");
        IViewer? next = await found.Next();

        Assert.NotSame(given, Assert.Single(_viewers.All));
        Assert.NotSame(given, found);
        Assert.Equal("given: text", await found.Show("text", CancellationToken.None));
        Assert.Equal("next: text", await next!.Show("text", CancellationToken.None));
        Assert.Null(await next.Next());
        Assert.Equal("next: key".Length, await (await found.KeyOf(next)).Key());
    }

    [Fact]
    public async Task RemoteObjectsOfAStream_AreLentToEachEnumeration()
    {
        IAsyncEnumerable<string> texts = _run.Control<IViewers>("viewers").Texts(new Viewer("given"));

        for (int i = 0; i < 2; i++)
            Assert.Equal(["given: a", "given: b"], await texts.ToListAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task DisposingTheProxyOfARemoteObject_LeavesWhatWasGivenToItsOwner()
    {
        IViewers proxy = _run.Control<IViewers>("viewers");
        var given = new Viewer("given");
        await proxy.Attach("a", given, null, CancellationToken.None);

        await _viewers.All.Single().DisposeAsync();

        Assert.False(given.IsDisposed);
        await Assert.ThrowsAsync<CommandFailedException>(() => _viewers.All.Single().Show("text", CancellationToken.None));
    }

    [Fact]
    public void EveryMember_FindsItself()
    {
        ControlMember[] members = [.. typeof(ProxyTests).Assembly.GetTypes()
            .Where(static t => t.Namespace == "Puma.Dataflow.Generated" && t.IsAssignableTo(typeof(@interface)))
            .SelectMany(static t => t.GetFields(BindingFlags.Static | BindingFlags.NonPublic))
            .Select(static f => f.GetValue(null)).OfType<ControlMember>()];

        Assert.All(members, static m => Assert.Same(m, m.Self()));
        Assert.Contains("interface.class", members.Select(static m => m.Name));
        Assert.Contains("interface.Values", members.Select(static m => m.Name));
    }
}
