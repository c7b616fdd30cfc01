using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Tests.Commands;

public interface ICounter
{
    ValueTask AddAsync(int value, CancellationToken cancellationToken = default);

    Task<int> SumAsync();

    Task<string> JoinAsync(string first, int? second, string[] rest, CancellationToken cancellationToken = default);

    Task<Person> MoveAsync(Person person, string town);

    ValueTask FailAsync(string message);

    ValueTask WaitForeverAsync(CancellationToken cancellationToken);

    Task<int> ProcessIdAsync();

    ValueTask<long> TimestampAsync();

    IAsyncEnumerable<int> CountAsync(int from, int count, CancellationToken cancellationToken = default);

    IAsyncEnumerable<int> WatchAsync(CancellationToken cancellationToken = default);

    ValueTask<ISession> OpenAsync(string name);

    ValueTask<int> OpenSessionsAsync();

    ValueTask<string> AskAsync(IOracle oracle, string question);

    ValueTask KeepAsync(IOracle oracle);

    ValueTask<string> AskKeptAsync(string question);

    ValueTask<object> UncarriableAsync(bool fails);

    ValueTask DieAsync();
}

public sealed record Town(string Name, IReadOnlyList<int> Codes);

public sealed record Person(string Name, Town Town);

[RemoteObject]
public interface ISession : IAsyncDisposable
{
    ValueTask<string> HelloAsync(string to);

    ValueTask<ISession> ChildAsync(string name);
}

[RemoteObject]
public interface IOracle : IAsyncDisposable
{
    ValueTask<string> AnswerAsync(string question, CancellationToken cancellationToken = default);
}

public interface IStranger
{
    ValueTask HelloAsync();
}

/// <summary>Passes items on and serves everything that a control interface can have.</summary>
public sealed class Counter : Runnable<int, int>, ICounter
{
    private readonly List<TaskCompletionSource> _changes = [];
    private readonly List<Session> _sessions = [];
    private IOracle? _kept;
    private int _sum;
    private int _running;

    protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
    {
        Enter();
        await EmitAsync(item, cancellationToken);
        Leave();
    }

    public async ValueTask AddAsync(int value, CancellationToken cancellationToken)
    {
        Enter();
        int before = _sum;
        await Task.Yield();
        _sum = before + value;
        foreach (TaskCompletionSource change in _changes)
            change.TrySetResult();
        _changes.Clear();
        Leave();
    }

    public Task<int> SumAsync() => Task.FromResult(_sum);

    public Task<string> JoinAsync(string first, int? second, string[] rest, CancellationToken cancellationToken) =>
        Task.FromResult($"{first} {second?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "none"} {string.Join('+', rest)}");

    public Task<Person> MoveAsync(Person person, string town) => Task.FromResult(person with { Town = person.Town with { Name = town } });

    public ValueTask FailAsync(string message) => throw new FormatException(message);

    public async ValueTask WaitForeverAsync(CancellationToken cancellationToken) => await Task.Delay(Timeout.Infinite, cancellationToken);

    public Task<int> ProcessIdAsync() => Task.FromResult(Environment.ProcessId);

    public ValueTask<long> TimestampAsync() => ValueTask.FromResult(Context.TimeProvider.GetTimestamp());

    public async IAsyncEnumerable<int> CountAsync(int from, int count, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        for (int i = 0; i < count; i++)
        {
            await Task.Yield();
            yield return from + i;
        }
    }

    public async IAsyncEnumerable<int> WatchAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        while (true)
        {
            var change = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _changes.Add(change);
            yield return _sum;
            await change.Task.WaitAsync(cancellationToken);
            Enter();
            Leave();
        }
    }

    public ValueTask<ISession> OpenAsync(string name) => ValueTask.FromResult<ISession>(Open(name));

    public ValueTask<int> OpenSessionsAsync() => ValueTask.FromResult(_sessions.Count);

    public async ValueTask<string> AskAsync(IOracle oracle, string question)
    {
        await using (oracle)
            return await oracle.AnswerAsync(question);
    }

    public ValueTask KeepAsync(IOracle oracle)
    {
        _kept = oracle;
        return default;
    }

    public ValueTask<string> AskKeptAsync(string question) => _kept!.AnswerAsync(question);

    public ValueTask<object> UncarriableAsync(bool fails) => fails ? throw new FormatException("it fails") : ValueTask.FromResult<object>(new Thread(static () => { }));

    public ValueTask DieAsync()
    {
        Environment.Exit(7);
        return default;
    }

    private Session Open(string name)
    {
        var session = new Session(this, name);
        _sessions.Add(session);
        return session;
    }

    /// <summary>Nothing of a runnable ever runs beside something else of it.</summary>
    private void Enter()
    {
        if (Interlocked.Exchange(ref _running, 1) != 0)
            throw new InvalidOperationException("Two callbacks of the runnable run at the same time.");
    }

    private void Leave() => Volatile.Write(ref _running, 0);

    private sealed class Session(Counter owner, string name) : ISession
    {
        public ValueTask<string> HelloAsync(string to) => ValueTask.FromResult($"{name} says hello to {to}");

        public ValueTask<ISession> ChildAsync(string child) => ValueTask.FromResult<ISession>(owner.Open($"{name}/{child}"));

        public ValueTask DisposeAsync()
        {
            owner._sessions.Remove(this);
            return default;
        }
    }
}
