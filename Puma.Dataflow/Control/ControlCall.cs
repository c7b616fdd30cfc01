namespace Puma.Dataflow.Control;

/// <summary>A call of a member, on its way to an instance of this process. The caller makes and awaits it; the instance's stream runs it.</summary>
/// <param name="instance">The instance.</param>
/// <param name="lent">The object of the instance that is called; 0 for its runnable.</param>
/// <param name="member">The member.</param>
/// <param name="arguments">All arguments but the token, unless they are read later.</param>
/// <param name="callerToken">Gives up the call.</param>
internal class ControlCall<TControl, TArguments, TResult>(
    InstanceControl instance,
    long lent,
    ControlMember<TControl, TArguments, TResult> member,
    TArguments arguments,
    CancellationToken callerToken) : Command, IPendingCall<TResult>
    where TControl : class
{
    private const int Open = 0, Begun = 1, TakenBack = 2;

    // Settled by whoever is first: the stream, the lane or the caller's token.
    private readonly TaskCompletionSource<TResult> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Decided once: the stream begins it, or its caller gives it up before.
    private int _fate;

    public Task<TResult> Result => _result.Task;

    public bool? HasBegun => Volatile.Read(ref _fate) == Begun;

    protected InstanceControl Instance => instance;

    /// <summary>The arguments, when they are needed. The stream only.</summary>
    /// <exception cref="ItemCodecException">They could not be carried.</exception>
    protected virtual TArguments ReadArguments() => arguments;

    /// <summary>Makes the result ready for its way, which begins before the instance goes on. Where the member ran.</summary>
    /// <exception cref="ItemCodecException">It cannot be carried.</exception>
    protected virtual void Carry(TResult result) { }

    internal override bool HasCaller => true;

    /// <summary>A command that has not begun never runs; one that runs is told by the token.</summary>
    public virtual void GiveUp()
    {
        if (TryTakeBack())
            instance.Given.GiveBack(arguments);
        _result.TrySetCanceled(callerToken);
    }

    /// <summary>Keeps it from running, also when the stream has taken it already.</summary>
    /// <returns>False when it has begun.</returns>
    protected bool TryTakeBack()
    {
        if (Interlocked.CompareExchange(ref _fate, TakenBack, Open) != Open)
            return false;
        instance.Lane.TryRemove(this);
        return true;
    }

    public override async ValueTask RunAsync(InstanceControl instance, Runnable runnable, CancellationToken cancellationToken)
    {
        // It was refused because the instance has ended, or given up. Decided last: who gives it up after that is told that it runs.
        if (_result.Task.IsCompleted || Interlocked.CompareExchange(ref _fate, Begun, Open) != Open)
        {
            instance.Lane.End(this);
            return;
        }

        if (instance.Find<TControl>(member, lent, runnable) is not { } target)
        {
            instance.Lane.End(this);
            Refuse(new(CommandFailure.NotServed, instance.WhyNotServed<TControl>(lent, runnable)));
            return;
        }

        // A step of a stream that waits comes back to the lane by itself; nothing else may run beside it.
        if (member.HoldsInstance)
            await AnswerAsync(target, cancellationToken).ConfigureAwait(false);
        else
            instance.Own(instance.Steps.Run(() => AnswerAsync(target, cancellationToken)));
    }

    public override void Refuse(CommandRefusal refusal)
    {
        instance.Given.GiveBack(arguments);
        Fail(refusal);
    }

    private void Fail(CommandRefusal refusal) =>
        _result.TrySetException(instance.Failed(member.Name, refusal.Failure, refusal.Reason, refusal.Cause));

    private async ValueTask AnswerAsync(TControl target, CancellationToken discardToken)
    {
        using var token = new MemberToken(instance, member.Name, callerToken, discardToken);

        // What the member throws itself is its own, whatever it is.
        bool isCarrying = true;
        try
        {
            TArguments given = ReadArguments();
            isCarrying = false;

            // Keeps the context: the result is encoded, and an object that comes too late is disposed, where the member ran.
            TResult result = await member.Invoke(target, given, instance.Inside.Results, token.Token).ConfigureAwait(true);
            isCarrying = true;
            Carry(result);
            isCarrying = false;
            if (!_result.TrySetResult(result) && result is IRemoteReference { Id: var id })
                await instance.EndLeaseAsync(id).ConfigureAwait(true);
        }
        catch (OperationCanceledException) when (callerToken.IsCancellationRequested)
        {
            _result.TrySetCanceled(callerToken);
        }
        catch (OperationCanceledException error) when (discardToken.IsCancellationRequested || error.CancellationToken == discardToken)
        {
            // An emit is refused a moment before the token fires, and names it.
            Fail(new(CommandFailure.StageEnded, "the stage gave up while the member ran."));
        }
        catch (OperationCanceledException) when (_result.Task.IsCompleted)
        {
            // Its caller was let go when the instance ended.
        }
        catch (OperationCanceledException) when (!member.HoldsInstance && instance.HasEndedLeases)
        {
            Refuse(new(CommandFailure.StageEnded, "the stage has ended while the stream went on."));
        }
        catch (ItemCodecException error) when (isCarrying)
        {
            Fail(new(CommandFailure.NotCarried, error.Message, error));
        }
        catch (Exception error)
        {
            if (!_result.TrySetException(instance.Failed(member.Name, CommandFailure.Threw, null, error)))
                instance.LogLateFailure(member.Name, error);
        }
        finally
        {
            instance.Lane.End(this);
        }
    }
}
