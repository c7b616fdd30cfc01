using System.Runtime.CompilerServices;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

public interface IHost
{
    ValueTask<ISession> OpenAsync();

    IAsyncEnumerable<int> WatchAsync(CancellationToken cancellationToken = default);
}

/// <summary>What an instance lends ends with it, one after another.</summary>
public sealed class LeaseEndTests : ChildTest
{
    // How long the end of an object waits for what must not run beside it. Only a failure ends it sooner.
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(200);

    private static TaskCompletionSource s_objectEnds = null!;
    private static Gate s_streamWentOn = null!;
    private static bool s_ranBeside;

    public static TheoryData<string> Places => Placed.OnFakeTime;

    [Theory, MemberData(nameof(Places))] // S41
    public async Task WhatIsLeftOfAStream_RunsNotBesideTheEndOfAnObject(string place)
    {
        (s_objectEnds, s_streamWentOn, s_ranBeside) = (new(TaskCreationOptions.RunContinuationsAsynchronously), new(), false);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Then(static () => new Host(), Placed.At(place, "host")).ForEach(static _ => { }));
        IHost host = run.Control<IHost>("host");
        await host.OpenAsync().AsTask().Within();
        IAsyncEnumerator<int> values = host.WatchAsync(TestToken).GetAsyncEnumerator(TestToken);
        Assert.True(await values.MoveNextAsync().AsTask().Within());
        Task<bool> step = values.MoveNextAsync().AsTask();

        // Behind the step: it has begun to wait.
        await host.OpenAsync().AsTask().Within();
        run.Complete();
        await run.Completion.Within();

        Assert.True(s_streamWentOn.IsOpen);
        Assert.False(s_ranBeside);
        await Assert.ThrowsAsync<CommandFailedException>(() => step.Within());
        await values.DisposeAsync().AsTask().Within();
    }

    private sealed class Host : Runnable<int, int>, IHost
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);

        public ValueTask<ISession> OpenAsync() => new(new Guest());

        public async IAsyncEnumerable<int> WatchAsync([EnumeratorCancellation] CancellationToken cancellationToken)
        {
            yield return 1;
            await s_objectEnds.Task.WaitAsync(CancellationToken.None);
            s_streamWentOn.Open();
            yield return 2;
        }
    }

    private sealed class Guest : ISession
    {
        public ValueTask<string> HelloAsync(string to) => new(to);

        public ValueTask<ISession> ChildAsync(string name) => new(this);

        public ValueTask DisposeAsync()
        {
            if (s_objectEnds.TrySetResult())
                s_ranBeside = SpinWait.SpinUntil(static () => s_streamWentOn.IsOpen, s_patience);
            return default;
        }
    }
}
