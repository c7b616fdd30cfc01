using System.Collections.Concurrent;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>The outputs of a pipeline as an observable.</summary>
public sealed class ObservableTests : PipelineTest
{
    [Fact]
    public async Task EachSubscription_IsARun_WithAllItemsInOrderAndThenTheEnd()
    {
        IObservable<int> squares = Pipeline.From(Enumerable.Range(0, 1000)).Transform(static x => x * x).AsObservable(Options);
        Recorder<int> first = new(), second = new();

        using IDisposable one = squares.Subscribe(first);
        using IDisposable other = squares.Subscribe(second);

        Assert.Null(await first.Ended.Within());
        Assert.Null(await second.Ended.Within());
        Assert.Equal(Enumerable.Range(0, 1000).Select(static x => x * x), first.Items);
        Assert.Equal(first.Items, second.Items);
        Assert.Equal((1, 1), (first.MostAtOnce, second.MostAtOnce));
    }

    [Fact] // S3, S18
    public async Task AFault_IsToldAfterTheValuesBeforeIt()
    {
        ExpectFailure();
        var observer = new Recorder<int>();

        using IDisposable subscription = Pipeline.From(Enumerable.Range(1, 100)).Transform(static x => x == 5 ? throw new FormatException() : x, new() { Name = "work" }).AsObservable(Options).Subscribe(observer);

        var fault = Assert.IsType<StageFaultedException>(await observer.Ended.Within());
        Assert.Equal(("work", 5L), (fault.Stage, fault.ItemNumber));
        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Equal([1, 2, 3, 4], observer.Items);
    }

    [Fact] // S21
    public async Task Disposing_CancelsTheRun_AndNothingMoreIsTold()
    {
        ExpectFailure();
        var ended = new TaskCompletionSource<RunState>(TaskCreationOptions.RunContinuationsAsynchronously);
        IDisposable? subscription = null;
        var subscribed = new Gate();
        var observer = new Recorder<int>(onNext: x =>
        {
            subscribed.Block();
            if (x == 3)
                subscription!.Dispose();
        });

        subscription = Pipeline.From(Naturals()).Then(() => new TellsItsEnd(ended), new() { BoundedCapacity = 1 }).AsObservable(Options).Subscribe(observer);
        subscribed.Open();

        Assert.Equal(RunState.Canceled, await ended.Task.Within());
        subscription.Dispose();
        Assert.Equal([1, 2, 3], observer.Items);
        Assert.False(observer.Ended.IsCompleted);
    }

    [Fact] // S21: an observer may hold what the disposing thread waits for, so the call under way is not waited for
    public async Task Disposing_WhileTheObserverIsCalled_WaitsForNothing_AndNoCallFollows()
    {
        ExpectFailure();
        var ended = new TaskCompletionSource<RunState>(TaskCreationOptions.RunContinuationsAsynchronously);
        Gate called = new(), disposed = new();
        var observer = new Recorder<int>(onNext: _ =>
        {
            called.Open();
            disposed.Block();
        });
        IDisposable subscription = Pipeline.From(Naturals()).Then(() => new TellsItsEnd(ended), new() { BoundedCapacity = 1 }).AsObservable(Options).Subscribe(observer);
        await called.WaitAsync();

        subscription.Dispose();
        disposed.Open();

        Assert.Equal(RunState.Canceled, await ended.Task.Within());
        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 5), "the run has ended");
        Assert.Equal([1], observer.Items);
        Assert.False(observer.Ended.IsCompleted);
    }

    [Fact] // S14: the observer is the end of the pipeline; the item that it failed at is counted as failed, though it was the last one
    public async Task AnObserverThatThrows_FaultsTheRun_AndIsToldNothingMore()
    {
        ExpectFailure();
        var ended = new TaskCompletionSource<RunState>(TaskCreationOptions.RunContinuationsAsynchronously);
        var observer = new Recorder<int>(static x => throw new FormatException($"at {x}"));

        using IDisposable subscription = Pipeline.From([1]).Then(() => new TellsItsEnd(ended)).AsObservable(Options).Subscribe(observer);

        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 4), "the fault is logged");
        Assert.Contains("'exit' failed", Assert.Single(Log.Records, static r => r.EventId.Id == 4).Message, StringComparison.Ordinal);
        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 5), "the run has ended");
        Assert.Contains("Faulted", Assert.Single(Log.Records, static r => r.EventId.Id == 5).Message, StringComparison.Ordinal);
        Assert.False(observer.Ended.IsCompleted);
    }

    [Fact] // S34
    public async Task ASlowObserver_HoldsThePipelineBack()
    {
        int made = 0;
        var gate = new Gate();
        var observer = new Recorder<int>(_ => gate.Block());

        using IDisposable subscription = Pipeline.From(Enumerable.Range(1, 1000)).Transform(x =>
        {
            Interlocked.Increment(ref made);
            return x;
        }, new() { BoundedCapacity = 1 }).AsObservable(Options).Subscribe(observer);

        // The exit holds 128, the one that the observer has among them.
        await Waiting.UntilAsync(() => Volatile.Read(ref made) >= 128, "the exit is full");
        Assert.InRange(Volatile.Read(ref made), 128, 129);
        gate.Open();
        Assert.Null(await observer.Ended.Within());
        Assert.Equal(1000, observer.Items.Count);
    }

    private static IEnumerable<int> Naturals()
    {
        for (int i = 1; ; i++)
            yield return i;
    }

    private sealed class TellsItsEnd(TaskCompletionSource<RunState> ended) : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
        {
            ended.TrySetResult(outcome);
            return default;
        }
    }

    private sealed class Recorder<T>(Action<T>? onNext = null) : IObserver<T>
    {
        private readonly TaskCompletionSource<Exception?> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _atOnce;

        public ConcurrentQueue<T> Items { get; } = [];

        public int MostAtOnce { get; private set; }

        public Task<Exception?> Ended => _ended.Task;

        public void OnNext(T value)
        {
            MostAtOnce = Math.Max(MostAtOnce, Interlocked.Increment(ref _atOnce));
            Items.Enqueue(value);
            onNext?.Invoke(value);
            Interlocked.Decrement(ref _atOnce);
        }

        public void OnCompleted() => _ended.TrySetResult(null);

        public void OnError(Exception error) => _ended.TrySetResult(error);
    }
}
