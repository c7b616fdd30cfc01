using System.Runtime.CompilerServices;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

public interface IGuardian
{
    ValueTask<Unspeakable> KeepAsync(IOracle oracle);

    ValueTask<string> AskAsync(string question);

    ValueTask VisitLaterAsync(IHouse house);

    IAsyncEnumerable<int> WaitAsync(CancellationToken cancellationToken = default);
}

[RemoteObject]
public interface IHouse : IAsyncDisposable
{
    ValueTask<IOracle> EnterAsync();
}

/// <summary>Its type can be carried, but not its value.</summary>
public sealed class Unspeakable
{
    public int Value { get => throw new FormatException("no value"); set => _ = value; }
}

/// <summary>What becomes of the objects that a runnable was given, and by which token a reader is let go.</summary>
public sealed class GivenLeaseTests : ChildTest
{
    private static Task s_visit = Task.CompletedTask;

    public static TheoryData<string> Places => Placed.OnFakeTime;

    private PipelineRun<int> StartAt(string place) =>
        Start(Pipeline.Accept<int>().Then(static () => new Guardian(), Placed.At(place, "guardian")).ForEach(static _ => { }));

    [Theory, MemberData(nameof(Places))] // S42
    public async Task AnObject_OfACallThatRan_StaysLent_AlsoWhenTheResultCannotBeCarried(string place)
    {
        PipelineRun<int> run = StartAt(place);
        IGuardian guardian = run.Control<IGuardian>("guardian");
        Task<Unspeakable> keep = guardian.KeepAsync(new Oracle()).AsTask();

        if (Placed.IsIsolated(place))
            Assert.Equal(CommandFailure.NotCarried, (await Assert.ThrowsAsync<CommandFailedException>(() => keep.Within())).Failure);
        else
            await keep.Within();

        Assert.Equal("why?", await guardian.AskAsync("why").AsTask().Within());
        run.Complete();
        await run.Completion.Within();
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task WhatAnObjectLends_WhenTheInstanceHasEnded_IsDisposed(string place)
    {
        PipelineRun<int> run = StartAt(place);
        var house = new House();
        await run.Control<IGuardian>("guardian").VisitLaterAsync(house).AsTask().Within();
        await house.Entered.WaitAsync(TestToken);
        run.Complete();
        await run.Completion.Within();

        house.Answers.Open();

        await house.Inside.Disposed.WaitAsync(TestToken);
        await s_visit.Within();
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task AReaderThatGivesUp_IsLetGoByHisOwnToken(string place)
    {
        PipelineRun<int> run = StartAt(place);
        IGuardian guardian = run.Control<IGuardian>("guardian");
        using CancellationTokenSource ofCall = new(), ofReader = new();

        async Task<CancellationToken> ReadAsync(IAsyncEnumerable<int> values, CancellationTokenSource source)
        {
            OperationCanceledException gone = await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
            {
                await foreach (int _ in values)
                    await source.CancelAsync();
            });
            return gone.CancellationToken;
        }

        Assert.Equal(ofCall.Token, await ReadAsync(guardian.WaitAsync(ofCall.Token), ofCall).Within());
        using CancellationTokenSource other = new();
        Assert.Equal(ofReader.Token, await ReadAsync(Reading(guardian.WaitAsync(other.Token), ofReader.Token), ofReader).Within());
        run.Complete();
        await run.Completion.Within();
    }

    private static async IAsyncEnumerable<int> Reading(IAsyncEnumerable<int> values, [EnumeratorCancellation] CancellationToken token)
    {
        await foreach (int value in values.WithCancellation(token))
            yield return value;
    }

    private sealed class Guardian : Runnable<int, int>, IGuardian
    {
        private IOracle? _kept;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);

        public ValueTask<Unspeakable> KeepAsync(IOracle oracle)
        {
            _kept = oracle;
            return new(new Unspeakable());
        }

        public ValueTask<string> AskAsync(string question) => _kept!.AnswerAsync(question);

        public ValueTask VisitLaterAsync(IHouse house)
        {
            s_visit = VisitAsync();
            return default;

            async Task VisitAsync()
            {
                try
                {
                    await house.EnterAsync().ConfigureAwait(false);
                }
                catch (CommandFailedException)
                {
                    // The instance has ended meanwhile.
                }
            }
        }

        public async IAsyncEnumerable<int> WaitAsync([EnumeratorCancellation] CancellationToken cancellationToken)
        {
            yield return 1;
            await Task.Delay(Timeout.Infinite, cancellationToken);
        }
    }

    private sealed class House : IHouse
    {
        public Gate Entered { get; } = new();

        public Gate Answers { get; } = new();

        public Oracle Inside { get; } = new();

        public async ValueTask<IOracle> EnterAsync()
        {
            Entered.Open();
            await Answers.WaitAsync();
            return Inside;
        }

        public ValueTask DisposeAsync() => default;
    }

    private sealed class Oracle : IOracle
    {
        public Gate Disposed { get; } = new();

        public ValueTask<string> AnswerAsync(string question, CancellationToken cancellationToken) => new(question + "?");

        public ValueTask DisposeAsync()
        {
            Disposed.Open();
            return default;
        }
    }
}
