using System.Runtime.CompilerServices;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

public interface ISelfReader
{
    ValueTask KeepAsync(IOracle oracle);

    IAsyncEnumerable<int> ValuesAsync(CancellationToken cancellationToken = default);
}

/// <summary>A handler that reads a stream of its own stage would wait for itself: it is refused wherever that can be known, and nothing is harmed.</summary>
public sealed class SelfReadTests : ChildTest
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(10);

    // What the handler in Loopback reaches without an object of the caller.
    private static Func<ValueTask>? s_onItem;

    public static TheoryData<string> Places => Placed.All;

    private PipelineRun<int> StartReader(string place, PipelineOptions? options = null) =>
        Start(Pipeline.Accept<int>().Then(static () => new SelfReader(), Placed.At(place, "reader")).ForEach(static _ => { }), options);

    [Theory, MemberData(nameof(Places))] // S41
    public async Task AnObject_ThatReadsAStreamOfTheStage_WhoseHandlerWaitsForIt_IsRefused_AndTheHandlerGoesOn(string place)
    {
        PipelineRun<int> run = StartReader(place);
        ISelfReader reader = run.Control<ISelfReader>("reader");
        var refused = new TaskCompletionSource<CommandFailedException>(TaskCreationOptions.RunContinuationsAsynchronously);
        await reader.KeepAsync(new Reading(async () => refused.SetResult(await Assert.ThrowsAsync<CommandFailedException>(() => ReadAsync(reader).Within())))).AsTask().Within();

        await run.SendAsync(1, TestToken);

        CommandFailedException failure = await refused.Task.Within();
        Assert.Equal((CommandFailure.NotServed, "reader", 0), (failure.Failure, failure.Stage, failure.Instance));
        Assert.Equal($"{nameof(ISelfReader)}.{nameof(ISelfReader.ValuesAsync)}", failure.Member);
        Assert.Contains("would wait for its own stream without end", failure.Message, StringComparison.Ordinal);

        // From outside it is read as ever.
        Assert.Equal([1, 2], await ReadAsync(reader).Within());
        run.Complete();
        await run.Completion.Within();
        Assert.Equal(1, (await run.Report).Stage("reader").Delivered);
    }

    [Fact] // S41: it looks like any other caller
    public async Task AStreamOfItsOwn_ThatAHandlerInLoopbackReadsByWayOfTheRun_EndsWithTheLimitOfCalls()
    {
        PipelineRun<int> run = StartReader("loopback", FakeTimeOptions with { CallTimeout = s_limit, SlowCallWarning = Timeout.InfiniteTimeSpan, StallTimeout = Timeout.InfiniteTimeSpan });
        ISelfReader reader = run.Control<ISelfReader>("reader");
        var called = new Gate();
        CommandFailedException? failure = null;
        s_onItem = async () =>
        {
            Task reading = ReadAsync(reader);
            called.Open();
            failure = await Assert.ThrowsAsync<CommandFailedException>(() => reading.Within());
        };
        await run.SendAsync(1, TestToken);
        await called.WaitAsync(TestToken);

        Time.Advance(s_limit);

        run.Complete();
        await run.Completion.Within();
        Assert.Equal(CommandFailure.TimedOut, failure!.Failure);
        Assert.Equal(1, (await run.Report).Stage("reader").Delivered);
    }

    private static Task<List<int>> ReadAsync(ISelfReader reader) => reader.ValuesAsync(TestToken).ToListAsync(TestToken).AsTask();

    private sealed class SelfReader : Runnable<int, int>, ISelfReader
    {
        private IOracle? _kept;

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (_kept is not null)
                await _kept.AnswerAsync("", cancellationToken);
            else
                await s_onItem!();
            await EmitAsync(item, cancellationToken);
        }

        public ValueTask KeepAsync(IOracle oracle)
        {
            _kept = oracle;
            return default;
        }

        public async IAsyncEnumerable<int> ValuesAsync([EnumeratorCancellation] CancellationToken cancellationToken)
        {
            yield return 1;
            await Task.Yield();
            yield return 2;
        }
    }

    private sealed class Reading(Func<Task> read) : IOracle
    {
        public async ValueTask<string> AnswerAsync(string question, CancellationToken cancellationToken)
        {
            await read();
            return "";
        }

        public ValueTask DisposeAsync() => default;
    }
}
