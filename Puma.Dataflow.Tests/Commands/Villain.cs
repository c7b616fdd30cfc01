using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Tests.Commands;

public interface IVillain
{
    ValueTask DoAsync(string what, CancellationToken cancellationToken = default);

    ValueTask<ISession?> LendAsync(string what, CancellationToken cancellationToken = default);

    ValueTask<string> TakeAsync(IOracle? oracle, CancellationToken cancellationToken = default);

    ValueTask<string> VisitAsync(ISession session);

    IAsyncEnumerable<int> StreamAsync(string what, CancellationToken cancellationToken = default);

    ValueTask<int> LengthAsync(byte[] bytes, CancellationToken cancellationToken = default);

    ValueTask<string> HoldAsync(Trap trap);

    ValueTask<int> ManyAsync(int a, string b, long c, double d, bool e, int[] f, string? g, byte h, Town i, IOracle j);
}

/// <summary>Says what it throws when it is asked for its value.</summary>
public sealed class Trap
{
    public object? Value { get; set; }
}

/// <summary>A runnable that does what a runnable should not do.</summary>
public sealed class Villain : Runnable<int, int>, IVillain
{
    private int _running;

    /// <summary>What its callbacks do, for those that live in the process of the test.</summary>
    public Func<ValueTask> OnStart { get; init; } = static () => default;

    public Func<ValueTask> OnItem { get; init; } = static () => default;

    public Func<ValueTask> OnCompleted { get; init; } = static () => default;

    public Func<ValueTask> OnEnd { get; init; } = static () => default;

    public Func<string, CancellationToken, ValueTask> OnDo { get; init; } = static (_, _) => default;

    public Func<CancellationToken, IAsyncEnumerable<int>?> OnStream { get; init; } = static _ => null;

    protected override ValueTask OnStartAsync(CancellationToken cancellationToken) => OnStart();

    protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
    {
        Enter();
        await OnItem();
        await EmitAsync(item, cancellationToken);
        Leave();
    }

    protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => OnCompleted();

    protected override ValueTask OnEndAsync(RunState outcome, Exception? cause) => OnEnd();

    public ValueTask DoAsync(string what, CancellationToken cancellationToken)
    {
        switch (what)
        {
            case "throw hostile":
                throw new HostileException();
            case "throw foreign cancellation":
                throw new OperationCanceledException(new CancellationToken(canceled: true));
            case "return null":
                return new ValueTask(((Task?)null)!);
            case "throw from a callback of the token":
                return WaitAsync(cancellationToken);
            case "hang":
                Context.Logger.LogInformation("waits");
                return new ValueTask(Task.Delay(Timeout.Infinite, CancellationToken.None));
            case "emit":
                return EmitManyAsync(cancellationToken);
            case "log":
                for (int i = 0; i < 100; i++)
                    Context.Logger.LogInformation("before the answer {Number}", i);
                return default;
            default:
                return OnDo(what, cancellationToken);
        }
    }

    private async ValueTask WaitAsync(CancellationToken cancellationToken)
    {
        Context.Logger.LogInformation("waits");
        using CancellationTokenRegistration throws = cancellationToken.Register(static () => throw new FormatException("a callback"));
        await Task.Delay(Timeout.Infinite, cancellationToken);
    }

    private async ValueTask EmitManyAsync(CancellationToken cancellationToken)
    {
        Enter();
        for (int i = 0; i < 1_000; i++)
            await EmitAsync(-1, cancellationToken);
        Leave();
    }

    public ValueTask<ISession?> LendAsync(string what, CancellationToken cancellationToken) => new(what == "null" ? null : new Guest(what));

    public async ValueTask<string> TakeAsync(IOracle? oracle, CancellationToken cancellationToken) =>
        oracle is null ? "none" : await oracle.AnswerAsync("take", cancellationToken);

    public ValueTask<string> VisitAsync(ISession session) => session.HelloAsync("Eve");

    public async IAsyncEnumerable<int> StreamAsync(string what, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (OnStream(cancellationToken) is { } values)
        {
            await foreach (int value in values)
                yield return value;
            yield break;
        }

        switch (what)
        {
            case "endless":
                for (int i = 0; ; i++)
                    yield return i;
            case "throw":
                yield return 1;
                throw new FormatException("in the iterator");
            case "throw at its end":
                try
                {
                    yield return 1;
                }
                finally
                {
                    Fail("the end of a stream");
                }

                break;
            case "wait":
                yield return 1;
                await Task.Delay(Timeout.Infinite, cancellationToken);
                break;
        }
    }

    public ValueTask<int> LengthAsync(byte[] bytes, CancellationToken cancellationToken) => new(bytes.Length);

    public ValueTask<string> HoldAsync(Trap trap) => new($"{trap.Value}");

    public async ValueTask<int> ManyAsync(int a, string b, long c, double d, bool e, int[] f, string? g, byte h, Town i, IOracle j) =>
        a + b.Length + (int)c + (int)d + (e ? 1 : 0) + f.Length + (g?.Length ?? 0) + h + i.Codes.Count + (await j.AnswerAsync("many")).Length;

    private static void Fail(string why) => throw new FormatException(why);

    private void Enter()
    {
        if (Interlocked.Exchange(ref _running, 1) != 0)
            throw new InvalidOperationException("Two callbacks of the runnable run at the same time.");
    }

    private void Leave() => Volatile.Write(ref _running, 0);

    private sealed class HostileException : Exception
    {
        public override string Message => throw new InvalidOperationException("no message");

        public override string StackTrace => throw new InvalidOperationException("no stack trace");
    }

    private sealed class Guest(string name) : ISession
    {
        public ValueTask<string> HelloAsync(string to) => new($"{name} says hello to {to}");

        public ValueTask<ISession> ChildAsync(string child) => new(new Guest($"{name}/{child}"));

        public ValueTask DisposeAsync() => name == "throws at its end" ? throw new FormatException("the end of a guest") : default;
    }
}
