using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Control;

/// <summary>All instances of a pool: a member without a result goes to each of them.</summary>
internal sealed class PoolTarget(string stage, ILogger logger, IReadOnlyList<ControlTarget> instances) : ControlTarget
{
    public override ControlSession Session => throw NeedsInstance("An object is lent to one instance");

    public override async ValueTask<TResult> CallAsync<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
    {
        if (typeof(TResult) != typeof(NoValue))
            throw NeedsInstance($"{member.Name} has a result");
        Task[] calls = [.. instances.Select(i => i.CallAsync(member, arguments, cancellationToken).AsTask())];
        try
        {
            await Task.WhenAll(calls).ConfigureAwait(false);
        }
        catch (CommandFailedException first)
        {
            // The caller gets one of them.
            foreach (Task call in calls)
            {
                if (call.Exception?.InnerException is CommandFailedException other && other != first)
                    Log.PoolCallFailed(logger, member.Name, stage, other.Message, other);
            }

            throw;
        }

        return default!;
    }

    public override ValueTask ReleaseAsync() => default;

    private InvalidOperationException NeedsInstance(string why) =>
        new($"{why}, but stage '{stage}' has {instances.Count}. Name one of them: Control<…>(\"{stage}\", instance: 0 to {instances.Count - 1}).");
}
