using System.Diagnostics;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

[RemoteObject]
public interface ILibrary : IAsyncDisposable
{
    ValueTask<IBook> LendAsync(string title);
}

[RemoteObject]
public interface IBook : IAsyncDisposable
{
    ValueTask<string> TitleAsync();
}

public interface IReader
{
    ValueTask<string> BorrowAsync(ILibrary library, string title);

    ValueTask<string> AnswerAsync(int caller, int call);

    ValueTask<int> ProcessIdAsync();

    ValueTask HangAsync();
}

/// <summary>What callers have, and what they gave, when the child that they call is lost.</summary>
public sealed class LostChildCallTests : ChildTest
{
    private const int ChildLost = 40, LateCall = 52;

    private int _kills;

    public static TheoryData<string> Places => Placed.All;

    private PipelineOptions Unhurried => Options with { SlowCallWarning = Timeout.InfiniteTimeSpan };

    private PipelineRun<int> StartReader(StageOptions options) =>
        Start(Pipeline.Accept<int>().Then(static () => new Reader(), options).ForEach(static _ => { }), Unhurried);

    private PipelineRun<int> StartRestarted() => StartReader(new()
    {
        Name = "reader",
        Placement = Placement.ChildProcess with { OnLoss = LossPolicy.Restart(max: 10, backoff: Backoff.None), StateLoss = StateLoss.Accepted },
    });

    /// <summary>Kills the child while a call runs in it; returns when that call has failed.</summary>
    private async Task KillAsync(IReader reader)
    {
        Expect(ChildLost);
        int processId = await reader.ProcessIdAsync().AsTask().Within();
        Task hanging = reader.HangAsync().AsTask();
        _kills++;
        await Waiting.UntilAsync(() => Log.Records.Count(static r => r.Message == "hangs") == _kills, "the member runs");
        using (Process child = Process.GetProcessById(processId))
            child.Kill();
        CommandFailedException lost = await Assert.ThrowsAsync<CommandFailedException>(() => hanging.Within());
        Assert.Equal(CommandFailure.ProcessLost, lost.Failure);
    }

    private static async Task EndAsync(PipelineRun<int> run)
    {
        run.Complete();
        await run.Completion.Within();
    }

    [Fact] // S36, S42
    public async Task AnObjectThatAChildWasGiven_IsFreeWhenTheChildIsLost_AndTheNextOneKeepsItsOwn()
    {
        PipelineRun<int> run = StartRestarted();
        IReader reader = run.Control<IReader>("reader");
        WeakReference first = await GiveAsync(reader);
        GC.Collect();
        Assert.True(first.IsAlive);

        await KillAsync(reader);
        WeakReference second = await GiveAsync(reader);

        await Waiting.UntilFreeAsync([first], "what the lost child was given");
        Assert.True(second.IsAlive);
        await EndAsync(run);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<WeakReference> GiveAsync(IReader reader)
    {
        var library = new Library();
        Assert.Equal("Emma", await reader.BorrowAsync(library, "Emma").AsTask().Within());
        return new WeakReference(library);
    }

    [Fact] // S42
    public async Task WhatAnObjectOfTheCallerLent_IsDisposed_WhenTheChildIsLost_AndItsFailureIsLogged()
    {
        Expect(LateCall);
        var library = new Library { BooksFail = true };
        PipelineRun<int> run = StartRestarted();
        IReader reader = run.Control<IReader>("reader");
        await reader.BorrowAsync(library, "Emma").AsTask().Within();
        Assert.False(library.Returned.Task.IsCompleted);

        await KillAsync(reader);

        Assert.Equal("Emma", await library.Returned.Task.Within());
        await UntilLoggedAsync();
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task WhatAnObjectOfTheCallerLent_IsDisposed_WhenTheStageEnds_AndItsFailureIsLogged(string place)
    {
        Expect(LateCall);
        var library = new Library { BooksFail = true };
        PipelineRun<int> run = StartReader(Placed.At(place, "reader"));
        await run.Control<IReader>("reader").BorrowAsync(library, "Emma").AsTask().Within();
        Assert.False(library.Returned.Task.IsCompleted);

        await EndAsync(run);

        Assert.Equal("Emma", await library.Returned.Task.Within());
        await UntilLoggedAsync();
    }

    private Task UntilLoggedAsync() =>
        Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == LateCall && r.Exception is FormatException), "the failure of the book's end is logged");

    [Fact] // S36, S37, S42
    public async Task ManyCallers_WhileTheChildIsKilledAgainAndAgain_AreAnsweredOrToldOfTheLoss()
    {
        const int Callers = 100, Kills = 4;
        PipelineRun<int> run = StartRestarted();
        IReader reader = run.Control<IReader>("reader");
        bool isOver = false;
        int lost = 0;
        Task[] callers = [.. Enumerable.Range(0, Callers).Select(caller => Task.Run(async () =>
        {
            for (int call = 0; !Volatile.Read(ref isOver); call++)
            {
                try
                {
                    Assert.Equal($"{caller} {call}", await reader.AnswerAsync(caller, call));
                }
                catch (CommandFailedException failure)
                {
                    Assert.Equal(CommandFailure.ProcessLost, failure.Failure);
                    Interlocked.Increment(ref lost);
                }
            }
        }))];
        for (int i = 0; i < Kills; i++)
            await KillAsync(reader);

        Volatile.Write(ref isOver, true);
        await Task.WhenAll(callers).Within();

        // A caller who knows of a loss is not told of it again.
        Assert.InRange(lost, 0, Kills * Callers);
        Assert.Equal("0 -1", await reader.AnswerAsync(0, -1).AsTask().Within());
        await EndAsync(run);
        Assert.Equal(Kills, (await run.Report).Stage("reader").Restarts);
    }

    private sealed class Reader : Runnable<int, int>, IReader
    {
        private readonly List<IBook> _books = [];

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);

        public async ValueTask<string> BorrowAsync(ILibrary library, string title)
        {
            IBook book = await library.LendAsync(title);
            _books.Add(book);
            return await book.TitleAsync();
        }

        public ValueTask<string> AnswerAsync(int caller, int call) => ValueTask.FromResult($"{caller} {call}");

        public ValueTask<int> ProcessIdAsync() => ValueTask.FromResult(Environment.ProcessId);

        public async ValueTask HangAsync()
        {
            Context.Logger.LogInformation("hangs");
            await Task.Delay(Timeout.Infinite);
        }
    }

    private sealed class Library : ILibrary
    {
        /// <summary>Whether its books fail when they come back.</summary>
        public bool BooksFail { get; init; }

        public TaskCompletionSource<string> Returned { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public ValueTask<IBook> LendAsync(string title) => ValueTask.FromResult<IBook>(new Book(this, title));

        public ValueTask DisposeAsync() => throw new InvalidOperationException("The library is its owner's.");
    }

    private sealed class Book(Library library, string title) : IBook
    {
        public ValueTask<string> TitleAsync() => ValueTask.FromResult(title);

        public ValueTask DisposeAsync()
        {
            library.Returned.SetResult(title);
            return library.BooksFail ? throw new FormatException("the end of a book") : default;
        }
    }
}
