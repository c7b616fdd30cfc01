using Puma.Dataflow.Isolation.Codec;

namespace Puma.Dataflow.Jobs;

/// <summary>What the caller of a job waits for. It ends exactly once: with the result, a failure or as cancelled. Any thread.</summary>
internal abstract class JobTicket
{
    private readonly JobLedger _ledger;
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private CancellationTokenRegistration _cancellation;
    private Action? _cancelAtWorker;
    private bool _hasBegun;
    private bool _isCancelRequested;
    private bool _hasEnded;

    protected JobTicket(JobLedger ledger, CancellationToken token)
    {
        _ledger = ledger;
        Token = token;
        Id = ledger.Add(this);
    }

    public long Id { get; }

    /// <summary>The caller's.</summary>
    public CancellationToken Token { get; }

    protected ItemCodecs Codecs => _ledger.Codecs!;

    /// <summary>From here on the caller's token counts.</summary>
    public void ObserveToken()
    {
        if (!Token.CanBeCanceled)
            return;
        CancellationTokenRegistration cancellation = Token.UnsafeRegister(static state => ((JobTicket)state!).RequestCancel(), this);
        bool hasEnded;
        lock (_gate)
        {
            _cancellation = cancellation;
            hasEnded = _hasEnded;
        }

        if (hasEnded)
            cancellation.Unregister();
    }

    /// <summary>A worker takes the job, or takes it once more after another was lost.</summary>
    /// <returns>False when nobody wants it any more.</returns>
    public bool TryBegin()
    {
        lock (_gate)
        {
            if (_hasEnded || _isCancelRequested)
                return false;
            if (!_hasBegun)
                _ledger.NoteBegun();
            _hasBegun = true;
            return true;
        }
    }

    /// <summary>The job was sent to a worker in another process.</summary>
    /// <param name="cancel">Fires the job's token there.</param>
    public void OnSent(Action cancel)
    {
        lock (_gate)
        {
            _cancelAtWorker = cancel;
            if (!_isCancelRequested)
                return;
        }

        cancel();
    }

    /// <summary>The job has ended without a failure.</summary>
    public abstract void Answer(JobReply reply);

    /// <summary>The job failed, or was lost with its worker.</summary>
    public void Fail(Exception error, long? itemNumber)
    {
        bool isCanceled;
        lock (_gate)
            isCanceled = _isCancelRequested && error is OperationCanceledException;
        if (isCanceled)
            Withdraw();
        else
            EndWith(new JobFailedException(_ledger.Name, error, itemNumber));
    }

    /// <summary>The executor has faulted.</summary>
    public void GiveUp(StageFaultedException cause)
    {
        bool hasBegun;
        lock (_gate)
            hasBegun = _hasBegun;
        EndWith(new JobFailedException(_ledger.Name, cause, hasBegun));
    }

    /// <summary>The job was not accepted.</summary>
    public void Refuse(Exception why) => EndWith(why);

    /// <summary>Ends the job as cancelled, whatever it does.</summary>
    public void Withdraw()
    {
        if (TryEnd(TaskStatus.Canceled))
            SetCanceled(Token.IsCancellationRequested ? Token : new CancellationToken(canceled: true));
    }

    protected abstract void SetException(Exception error);

    protected abstract void SetCanceled(CancellationToken token);

    private void RequestCancel()
    {
        Action? cancel;
        bool hasBegun;
        lock (_gate)
        {
            _isCancelRequested = true;
            (hasBegun, cancel) = (_hasBegun, _cancelAtWorker);
        }

        if (!hasBegun)
            Withdraw();
        else
            cancel?.Invoke();
    }

    private void EndWith(Exception error)
    {
        if (TryEnd(TaskStatus.Faulted))
            SetException(error);
    }

    /// <returns>True for the first caller, who then tells the job's.</returns>
    protected bool TryEnd(TaskStatus how)
    {
        CancellationTokenRegistration cancellation;
        bool hasBegun;
        lock (_gate)
        {
            if (_hasEnded)
                return false;
            _hasEnded = true;
            (cancellation, hasBegun) = (_cancellation, _hasBegun);
        }

        cancellation.Unregister();
        _ledger.NoteEnded(this, how, hasBegun);
        return true;
    }
}

/// <inheritdoc/>
internal sealed class JobTicket<TResult>(JobLedger ledger, CancellationToken token) : JobTicket(ledger, token)
{
    private readonly TaskCompletionSource<TResult> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<TResult> Task => _result.Task;

    public override void Answer(JobReply reply)
    {
        if (!reply.HasResult)
        {
            Withdraw();
            return;
        }

        TResult result;
        try
        {
            result = reply is EncodedResult encoded ? Codecs.For<TResult>().Read(encoded.Payload) : ((JobResult<TResult>)reply).Value;
        }
        catch (Exception error)
        {
            Fail(error, itemNumber: null);
            return;
        }

        if (TryEnd(TaskStatus.RanToCompletion))
            _result.SetResult(result);
    }

    protected override void SetException(Exception error)
    {
        _result.SetException(error);

        // Who does not await a job is not told of its failure as of an unobserved exception.
        _ = _result.Task.Exception;
    }

    protected override void SetCanceled(CancellationToken token) => _result.SetCanceled(token);
}
