namespace Puma.Dataflow.Control;

/// <summary>An instance of this process, or an object that it lends.</summary>
/// <param name="instance">The instance.</param>
/// <param name="lent">The object; 0 for the runnable itself.</param>
internal sealed class InstanceTarget(InstanceControl instance, long lent = 0) : ControlTarget
{
    public override ControlSession Session => instance.Outside;

    public override async ValueTask<TResult> CallAsync<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        using WatchedCall watched = instance.Watch.Begin(member, cancellationToken);
        var call = new ControlCall<TControl, TArguments, TResult>(instance, lent, member, arguments, watched.Token);
        if (instance.Lane.IsCurrent)
            await instance.RunAtOnceAsync(call).ConfigureAwait(false);
        else
            instance.Lane.Add(call);
        try
        {
            using (watched.Token.UnsafeRegister(static state => ((ControlCall<TControl, TArguments, TResult>)state!).GiveUp(), call))
                return await call.Result.ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (OperationCanceledException) when (watched.Token.IsCancellationRequested)
        {
            throw instance.Failed(member.Name, CommandFailure.TimedOut, watched.WhyTimedOut, null);
        }
    }

    public override async ValueTask ReleaseAsync()
    {
        // What the instance lends ends with it.
        if (instance.Lent.Find(lent) is null)
            return;
        try
        {
            await CallAsync(RemoteLease.End, default, CancellationToken.None).ConfigureAwait(false);
        }
        catch (CommandFailedException refused) when (refused.Failure is CommandFailure.StageEnded or CommandFailure.NotServed)
        {
            // It did meanwhile.
        }
    }
}

/// <summary>An object of a caller of this process, which was given to an instance. It is called where the instance calls it, not on any stream.</summary>
internal sealed class GivenTarget(InstanceControl instance, long id) : ControlTarget
{
    public override ControlSession Session => instance.Inside;

    public override async ValueTask<TResult> CallAsync<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
    {
        if (instance.FindGiven(id) is not TControl given)
            throw instance.Failed(member.Name, CommandFailure.NotServed, "the lease of the object has ended.", null);
        try
        {
            return await member.Invoke(given, arguments, instance.Outside, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
        {
            throw instance.Failed(member.Name, CommandFailure.Threw, null, error);
        }
    }

    /// <summary>The object stays its owner's.</summary>
    public override ValueTask ReleaseAsync()
    {
        instance.ForgetGiven(id);
        return default;
    }
}

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
