namespace Puma.Dataflow.Control;

/// <summary>All instances of a pool: a member without a result goes to each of them.</summary>
internal sealed class PoolTarget(string stage, IReadOnlyList<ControlTarget> instances) : ControlTarget
{
    public override ControlSession Session => throw NeedsInstance("An object is lent to one instance");

    public override async ValueTask<TResult> CallAsync<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
    {
        if (typeof(TResult) != typeof(NoValue))
            throw NeedsInstance($"{member.Name} has a result");
        await Task.WhenAll(instances.Select(i => i.CallAsync(member, arguments, cancellationToken).AsTask())).ConfigureAwait(false);
        return default!;
    }

    public override ValueTask ReleaseAsync() => default;

    private InvalidOperationException NeedsInstance(string why) =>
        new($"{why}, but stage '{stage}' has {instances.Count}. Name one of them: Control<…>(\"{stage}\", instance: 0 to {instances.Count - 1}).");
}
