namespace Puma.Dataflow.Control;

/// <summary>A call under way, as whoever times it sees it. Any thread.</summary>
internal interface IPendingCall
{
    /// <summary>Whether its member has begun; null when that is not known here. False after the call was given up: it never does.</summary>
    bool? HasBegun { get; }
}

/// <summary>A call under way, as its caller sees it.</summary>
internal interface IPendingCall<TResult> : IPendingCall
{
    Task<TResult> Result { get; }

    /// <summary>Lets the caller go, whose token has fired: <see cref="Result"/> is cancelled, and so is the member, as soon as it is told.</summary>
    void GiveUp();
}

/// <summary>A target whose calls are on their way for a while: they can be given up, run into the time limit, and are watched.</summary>
internal abstract class CallTarget : ControlTarget
{
    /// <summary>Times the calls; null for calls that nobody times.</summary>
    protected virtual CallWatch? Watch => null;

    /// <summary>The objects that the arguments of calls were lent from.</summary>
    protected abstract LentObjects Lent { get; }

    /// <summary>Whether calls are served by now. One that waits for the start is not slow.</summary>
    protected virtual bool HasBegun => true;

    /// <summary>Sends a call on its way. Does not wait.</summary>
    /// <exception cref="CommandFailedException">It cannot go.</exception>
    protected abstract IPendingCall<TResult> Begin<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
        where TControl : class;

    public override async ValueTask<TResult> CallAsync<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            Lent.GiveBack(arguments);
            throw new OperationCanceledException(cancellationToken);
        }

        using WatchedCall? watched = Watch?.Begin(member, HasBegun, cancellationToken);
        CancellationToken token = watched?.Token ?? cancellationToken;
        IPendingCall<TResult> call = Begin(member, arguments, token);
        if (watched is not null)
            watched.Call = call;
        try
        {
            using (token.UnsafeRegister(static state => ((IPendingCall<TResult>)state!).GiveUp(), call))
                return await call.Result.ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (OperationCanceledException) when (watched?.Token.IsCancellationRequested == true)
        {
            throw Failed(member.Name, CommandFailure.TimedOut, watched.WhyTimedOut, null);
        }
    }

    /// <summary>Ends the lease of a lent object; that it has ended by itself is no failure, what the object throws then is.</summary>
    public override async ValueTask ReleaseAsync()
    {
        try
        {
            await CallAsync(RemoteLease.End, default, CancellationToken.None).ConfigureAwait(false);
        }
        catch (CommandFailedException ended) when (ended.Failure is CommandFailure.StageEnded or CommandFailure.NotServed or CommandFailure.ProcessLost)
        {
            // What an instance lends ends with it.
        }
    }
}
