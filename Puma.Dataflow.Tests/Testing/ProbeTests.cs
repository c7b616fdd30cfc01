using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Testing;

public sealed class ProbeTests : PipelineTest
{
    [Fact] // S34
    public async Task SinkProbe_NotAsked_HoldsTheItemsBackUpToTheSource()
    {
        var source = new SourceProbe<int>();
        var sink = new SinkProbe<int>();
        PipelineRun run = Start(Pipeline.From(source).To(sink, new() { Name = "sink", BoundedCapacity = 2 }));
        await run.Started.Within();

        Assert.Equal(2, source.Demand);
        Task first = source.SendAsync(1), second = source.SendAsync(2), third = source.SendAsync(3);
        await Task.WhenAll(first, second).Within();
        await Waiting.UntilAsync(() => sink.HasNext, "the first item is offered");
        Assert.Equal((0, 1, false), (source.Demand, source.Pending, third.IsCompleted));

        Assert.Equal(1, await sink.NextAsync());
        await third.Within();
        Assert.Equal([2, 3], await sink.NextAsync(2));
        await Waiting.UntilAsync(() => source.Demand == 2, "the slots are free again");
        source.Complete();

        Assert.Equal(RunState.Completed, await sink.AssertNothingMoreAsync());
        Assert.Equal(RunState.Completed, await source.Ended.Within());
        Assert.Equal([1, 2, 3], sink.Received);
        await run.Completion.Within();
    }

    [Fact] // S17
    public async Task SourceProbe_Fault_IsSeenBehindTheValues()
    {
        ExpectFailure();
        var source = new SourceProbe<int>();
        var sink = new SinkProbe<int>();
        PipelineRun run = Start(Pipeline.From(source, new() { Name = "probe" }).To(sink));
        _ = source.SendAsync(1);
        source.Fault(new FormatException("broken"));

        Assert.Equal([1], await sink.ReadToEndAsync());
        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("probe", fault.Stage);
        Assert.Equal(RunState.Faulted, await sink.Ended.Within());
        Assert.Same(fault, sink.Cause);
    }

    [Fact]
    public async Task SinkProbe_AskedBeforeTheItemComes_GivesItOut()
    {
        var source = new SourceProbe<string>();
        var sink = new SinkProbe<string>();
        PipelineRun run = Start(Pipeline.From(source).Transform(static s => s + "!").To(sink));

        Task<string> next = sink.NextAsync();
        await source.SendAsync("a").Within();

        Assert.Equal("a!", await next.Within());
        source.Complete();
        await sink.AssertNothingMoreAsync();
        await run.Completion.Within();
    }

    [Fact]
    public async Task SinkProbe_UnexpectedItem_FailsTheTest()
    {
        var source = new SourceProbe<int>();
        var sink = new SinkProbe<int>();
        PipelineRun run = Start(Pipeline.From(source).To(sink));
        await source.SendAsync(7).Within();

        var error = await Assert.ThrowsAsync<ProbeException>(sink.AssertNothingMoreAsync);

        Assert.Contains("'7' came", error.Message, StringComparison.Ordinal);
        source.Complete();
        Assert.Contains("ended Completed after 1 item", (await Assert.ThrowsAsync<ProbeException>(sink.NextAsync)).Message, StringComparison.Ordinal);
        await run.Completion.Within();
    }

    [Fact] // S21
    public async Task Cancel_EndsBothProbes_AndGivesUpWhatWasNotAccepted()
    {
        ExpectFailure();
        var source = new SourceProbe<int>();
        var sink = new SinkProbe<int>();
        PipelineRun run = Start(Pipeline.From(source).To(sink, new() { BoundedCapacity = 1 }));
        await source.SendAsync(1).Within();
        Task waiting = source.SendAsync(2), queued = source.SendAsync(3);
        Task<int> asked = sink.NextAsync();
        Assert.Equal(1, await asked.Within());
        await waiting.Within();
        Task<RunState> nothing = sink.Ended;
        run.Cancel();

        Assert.Equal(RunState.Canceled, await nothing.Within());
        Assert.Equal(RunState.Canceled, await source.Ended.Within());
        await Assert.ThrowsAsync<InvalidOperationException>(() => queued.Within());
        await Assert.ThrowsAsync<InvalidOperationException>(() => source.SendAsync(4).Within());
        Assert.Equal(0, source.Demand);
        await Assert.ThrowsAsync<ProbeException>(sink.NextAsync);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
    }
}
