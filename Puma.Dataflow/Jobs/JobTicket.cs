using Puma.Dataflow.Diagnostics;
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
    private long? _number;
    private int _processId;
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
    /// <param name="number">The job's number in the log.</param>
    /// <param name="processId">The worker's.</param>
    /// <param name="cancel">Fires the job's token there.</param>
    public void OnSent(long number, int processId, Action cancel)
    {
        lock (_gate)
        {
            (_number, _processId, _cancelAtWorker) = (number, processId, cancel);
            if (!_isCancelRequested)
                return;
        }

        cancel();
    }

    /// <summary>The job has ended, and threw nothing.</summary>
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

    /// <summary>The job has run in another process, from which its result does not arrive.</summary>
    protected void FailToReturn(Exception error)
    {
        long? number;
        int processId;
        lock (_gate)
            (number, processId) = (_number, _processId);
        var failure = new JobFailedException(_ledger.Name, error, number, processId);
        Log.ResultNotCarried(_ledger.Logger, _ledger.Name, failure.Message, error);
        EndWith(failure);
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
        switch (reply)
        {
            case JobResult<TResult> here:
                Return(here.Value);
                break;
            case EncodedResult encoded:
                Decode(encoded);
                break;
            case UncarriedResult uncarried:
                FailToReturn(new ItemCodecException(typeof(TResult), uncarried.Member, uncarried.Reason));
                break;
            default:
                Withdraw();
                break;
        }
    }

    private void Decode(EncodedResult encoded)
    {
        TResult result;
        try
        {
            result = Codecs.For<TResult>().Read(encoded.Payload);
        }
        catch (Exception error)
        {
            FailToReturn(error);
            return;
        }

        Return(result);
    }

    private void Return(TResult result)
    {
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
