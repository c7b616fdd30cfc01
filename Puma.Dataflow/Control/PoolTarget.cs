using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Control;

/// <summary>
/// All instances of a pool: a member without a result goes to each of them. One that needs a single instance is refused at the call, and
/// one that an instance makes is refused as not served: two that did so at the same time would wait for each other.
/// </summary>
internal sealed class PoolTarget(string stage, ILogger logger, IReadOnlyList<ControlTarget> instances) : ControlTarget
{
    public override ControlSession Session => throw NeedsInstance("An object is lent to one instance");

    public override ValueTask<TResult> CallAsync<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken) =>
        typeof(TResult) == typeof(NoValue) ? CallEachAsync(member, arguments, cancellationToken) : throw NeedsInstance($"{member.Name} has a result");

    public override IAsyncEnumerable<T> StreamAsync<TControl, TArguments, T>(ControlStream<TControl, TArguments, T> member, TArguments arguments, CancellationToken cancellationToken) =>
        throw NeedsInstance($"{member.Name} has a result");

    public override ValueTask ReleaseAsync() => default;

    internal override void Own(string member, Task running) => instances[0].Own(member, running);

    internal override CommandFailedException Failed(string member, CommandFailure failure, string? reason, Exception? cause) =>
        instances[0].Failed(member, failure, reason, cause);

    private async ValueTask<TResult> CallEachAsync<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
        where TControl : class
    {
        foreach (ControlTarget instance in instances)
        {
            if (instance.IsCalledFromWithin)
                throw instance.Failed(member.Name, CommandFailure.NotServed, "it was called by an instance of the pool for all of them, which could wait for each other without end. Call one by its number, or from outside.", null);
        }

        Task[] calls = [.. instances.Select(i => i.CallAsync(member, arguments, cancellationToken).AsTask())];
        try
        {
            await Task.WhenAll(calls).ConfigureAwait(false);
        }
        catch (CommandFailedException first)
        {
            // The caller gets one of them, or none when it has given up.
            bool isGivenUp = calls.Any(static c => c.IsCanceled);
            foreach (Task call in calls)
            {
                if (call.Exception?.InnerException is CommandFailedException other && (isGivenUp || other != first))
                    Log.PoolCallFailed(logger, member.Name, stage, other.Message, other);
            }

            if (isGivenUp)
                throw new OperationCanceledException(cancellationToken);
            throw;
        }

        return default!;
    }

    private InvalidOperationException NeedsInstance(string why) =>
        new($"{why}, but stage '{stage}' has {instances.Count} instances. Name one of them: Control<…>(\"{stage}\", instance: 0 to {instances.Count - 1}).");
}
