using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

public interface ISpeaker
{
    ValueTask SayAsync(string text);

    ValueTask<int> TicksAsync();
}

/// <summary>Runnables that do what they are told, in between what they do by themselves.</summary>
public sealed class ToldRunnableTests : ChildTest
{
    public static TheoryData<Placement> Places => [Placement.InProcess, Placement.Loopback, Placement.ChildProcess];

    [Theory, MemberData(nameof(Places))] // S41, S42, Puma 69, 70, 72, 75
    public async Task ARunnableWithoutItems_SaysWhatItIsTold_UntilItIsStopped(Placement placement)
    {
        List<string> seen = [];
        PipelineRun<string> run = Start(Pipeline.Accept<string>().Then(static () => new Speaker(), new() { Name = "speaker", Placement = placement }).ForEach(seen.Add));
        ISpeaker speaker = run.Control<ISpeaker>("speaker");

        await speaker.SayAsync("Hello").AsTask().Within();
        await speaker.SayAsync("World").AsTask().Within();
        await run.StopAsync(TimeSpan.FromSeconds(30)).Within();

        Assert.Equal(["Hello", "World", "stopped"], seen);
        CommandFailedException refused = await Assert.ThrowsAsync<CommandFailedException>(() => speaker.SayAsync("more").AsTask().Within());
        Assert.Equal(CommandFailure.StageEnded, refused.Failure);
    }

    [Theory, MemberData(nameof(Places))] // S41, S44, Puma 103
    public async Task Ticks_GoOn_WhileCommandsAndItemsCome(Placement placement)
    {
        int seen = 0;
        PipelineRun<string> run = Start(Pipeline.Accept<string>()
            .Then(static () => new Speaker(), new() { Name = "speaker", Placement = placement, TickInterval = TimeSpan.FromMilliseconds(2) })
            .ForEach(text => seen += text == "stopped" ? 0 : 1));
        ISpeaker speaker = run.Control<ISpeaker>("speaker");
        int said = 0, ticks = 0;
        while (ticks < 50)
        {
            await run.SendAsync("item", TestToken).AsTask().Within();
            await speaker.SayAsync("command").AsTask().Within();
            said += 2;
            ticks = await speaker.TicksAsync().AsTask().Within();
        }

        run.Complete();
        await run.Completion.Within();
        Assert.Equal(said, seen);
    }

    private sealed class Speaker : Runnable<string, string>, ISpeaker
    {
        private int _ticks;

        public ValueTask SayAsync(string text) => EmitAsync(text);

        public ValueTask<int> TicksAsync() => ValueTask.FromResult(_ticks);

        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
        {
            _ticks++;
            return default;
        }

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => EmitAsync("stopped", cancellationToken);
    }
}
