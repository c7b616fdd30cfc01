using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow;

/// <summary>What happens to an item whose handler throws. Immutable and safe for any thread; one policy may serve many stages.</summary>
public abstract record ErrorPolicy
{
    private protected ErrorPolicy() { }

    /// <summary>How many attempts follow the first one.</summary>
    internal int Retries { get; init; }

    internal Backoff RetryBackoff { get; init; } = Backoff.None;

    /// <summary>What happens when the attempts are used up.</summary>
    internal ErrorVerdict Verdict { get; init; }

    internal ForeignTarget<DeadLetter>? DeadLetterTarget { get; init; }

    /// <summary>The item type that the policy was made for; null serves any.</summary>
    internal Type? ItemType { get; init; }

    /// <summary>Makes the dead letter of an item with the item's own type, when the policy has one.</summary>
    internal virtual DeadLetter MakeDeadLetter(object? item, Exception error, string stage) => new(item, error, stage);

    /// <summary>The stage faults, and with it the run. This is the default.</summary>
    public static ErrorPolicy Fault { get; } = new AnyItemPolicy { Verdict = ErrorVerdict.Fault };

    /// <summary>The item is left out and counted as skipped.</summary>
    public static ErrorPolicy Skip { get; } = new AnyItemPolicy { Verdict = ErrorVerdict.Skip };

    /// <summary>The item is tried again; when all attempts failed, the stage faults, or what follows by <see cref="Then(ErrorPolicy)"/> happens.</summary>
    /// <param name="times">How many further attempts are made; at least 1.</param>
    /// <param name="backoff">The wait between attempts; default none.</param>
    /// <remarks>Outputs of an attempt are passed on only when it has returned. The item keeps its slot while it waits, and completion waits for it.</remarks>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="times"/> is below 1.</exception>
    public static ErrorPolicy Retry(int times, Backoff? backoff = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(times, 1);
        return new AnyItemPolicy { Retries = times, RetryBackoff = backoff ?? Backoff.None };
    }

    /// <summary>The item goes to a target, which is completed when all stages that feed it have ended. Such a pipeline runs once.</summary>
    /// <param name="target">The target; back-pressured like any link. When it faults, the run faults.</param>
    /// <exception cref="ArgumentNullException"><paramref name="target"/> is null.</exception>
    public static ErrorPolicy DeadLetter(ITargetBlock<DeadLetter> target)
    {
        ArgumentNullException.ThrowIfNull(target);
        return new AnyItemPolicy { Verdict = ErrorVerdict.DeadLetter, DeadLetterTarget = new BlockTarget<DeadLetter, DeadLetter>(target) };
    }

    /// <summary>The item goes to a target, which is completed when all stages that feed it have ended. Such a pipeline runs once.</summary>
    /// <typeparam name="T">The item type of the stage; <c>Build()</c> checks it.</typeparam>
    /// <param name="target">The target; back-pressured like any link. When it faults, the run faults.</param>
    /// <exception cref="ArgumentNullException"><paramref name="target"/> is null.</exception>
    public static ErrorPolicy<T> DeadLetter<T>(ITargetBlock<DeadLetter<T>> target)
    {
        ArgumentNullException.ThrowIfNull(target);
        return new ErrorPolicy<T> { Verdict = ErrorVerdict.DeadLetter, DeadLetterTarget = new BlockTarget<DeadLetter, DeadLetter<T>>(target) };
    }

    /// <summary>The item goes to a channel, which is completed when all stages that feed it have ended. Such a pipeline runs once.</summary>
    /// <typeparam name="T">The item type of the stage; <c>Build()</c> checks it.</typeparam>
    /// <param name="writer">The channel's writer.</param>
    /// <exception cref="ArgumentNullException"><paramref name="writer"/> is null.</exception>
    public static ErrorPolicy<T> DeadLetter<T>(ChannelWriter<DeadLetter<T>> writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        return new ErrorPolicy<T> { Verdict = ErrorVerdict.DeadLetter, DeadLetterTarget = new ChannelTarget<DeadLetter, DeadLetter<T>>(writer) };
    }

    /// <summary>The item goes to a delegate, which is called for one item at a time.</summary>
    /// <typeparam name="T">The item type of the stage; <c>Build()</c> checks it.</typeparam>
    /// <param name="handler">The delegate. When it throws, the run faults.</param>
    /// <exception cref="ArgumentNullException"><paramref name="handler"/> is null.</exception>
    public static ErrorPolicy<T> DeadLetter<T>(Func<DeadLetter<T>, CancellationToken, ValueTask> handler)
    {
        ArgumentNullException.ThrowIfNull(handler);
        return new ErrorPolicy<T> { Verdict = ErrorVerdict.DeadLetter, DeadLetterTarget = new DelegateTarget<DeadLetter, DeadLetter<T>>(handler) };
    }

    /// <summary>Says what happens when the attempts of this policy are used up.</summary>
    /// <param name="next">What happens then; not another retry.</param>
    /// <exception cref="ArgumentException">This policy is not a retry, or <paramref name="next"/> is one.</exception>
    public ErrorPolicy Then(ErrorPolicy next) => Combine(next);

    /// <summary>Says what happens when the attempts of this policy are used up.</summary>
    /// <typeparam name="T">The item type of the stage.</typeparam>
    /// <param name="next">What happens then; not another retry.</param>
    /// <exception cref="ArgumentException">This policy is not a retry, or <paramref name="next"/> is one.</exception>
    public ErrorPolicy<T> Then<T>(ErrorPolicy<T> next) => (ErrorPolicy<T>)Combine(next);

    private ErrorPolicy Combine(ErrorPolicy next)
    {
        ArgumentNullException.ThrowIfNull(next);
        if (Retries == 0 || Verdict != ErrorVerdict.Fault)
            throw new ArgumentException("Only Retry can be followed by another policy, and only by one: write ErrorPolicy.Retry(n).Then(policy).");
        if (next.Retries > 0)
            throw new ArgumentException("A retry cannot be followed by another retry: give the first one more attempts.", nameof(next));
        return next with { Retries = Retries, RetryBackoff = RetryBackoff };
    }

    private sealed record AnyItemPolicy : ErrorPolicy;
}

/// <summary>An error policy for the stages of one item type.</summary>
/// <typeparam name="T">The item type.</typeparam>
public sealed record ErrorPolicy<T> : ErrorPolicy
{
    internal ErrorPolicy() => ItemType = typeof(T);

    internal override DeadLetter MakeDeadLetter(object? item, Exception error, string stage) => new DeadLetter<T>((T)item!, error, stage);
}

/// <summary>The last word of an error policy.</summary>
internal enum ErrorVerdict
{
    Fault,
    Skip,
    DeadLetter,
}
