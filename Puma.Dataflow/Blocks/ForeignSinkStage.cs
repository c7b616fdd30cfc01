using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Blocks;

/// <summary>Hands items to a foreign target, and ends when the target has. Several inputs are read in turn.</summary>
internal abstract class ForeignSinkStage<T>(StageSetup setup) : StageNode(setup)
{
    private ForeignTarget<T>? _target;
    private Task? _targetCompletion;
    private Exception? _told;
    private bool _hasFailed;

    /// <summary>Makes or finds the target.</summary>
    protected abstract ForeignTarget<T> Connect();

    /// <summary>Takes from the target what it still holds, so that it can end.</summary>
    protected virtual void Drain() { }

    protected override ValueTask StartAsync()
    {
        _target = Connect();
        if (_target.TryGetCompletion(out _targetCompletion))
            Graph.Own(WakeAtEndAsync(_targetCompletion));
        return default;
    }

    protected override async Task RunAsync()
    {
        long number = 0;
        while (!IsDiscarding && !IsFinishing)
        {
            if (_targetCompletion is { IsCompleted: true })
            {
                await OnTargetEndedAsync().ConfigureAwait(false);
                return;
            }

            bool hasMoved = false;
            foreach (Link link in Inputs)
            {
                var input = (Link<T>)link;
                if (IsDiscarding || !input.TryRead(out T item))
                    continue;
                hasMoved = true;
                input.CountReceived();
                await HandOverAsync(input, item, ++number).ConfigureAwait(false);
            }

            if (hasMoved)
                continue;
            if (Array.TrueForAll(Inputs, static i => i.End is not null))
                return;
            await WaitAsync(StageActivity.WaitingForInput).ConfigureAwait(false);
            BeginWork();
        }
    }

    protected override async ValueTask ReturnAllAsync()
    {
        if (_target is null)
            return;
        TellTarget();
        if (_targetCompletion is null)
            return;
        while (!_targetCompletion.IsCompleted && !IsDiscarding)
            await WaitAsync(StageActivity.WaitingForForeignCode).ConfigureAwait(false);
        if (!_targetCompletion.IsCompleted)
        {
            // Given up, perhaps while the target still worked off what it had: it is told, drained, and left behind in the end.
            if (_told is null)
                TellTarget();
            Drain();
            if (!await HasTargetEndedInTimeAsync(_targetCompletion).ConfigureAwait(false))
            {
                Abandon();
                return;
            }
        }

        FailWithTarget(_targetCompletion);
    }

    private async ValueTask HandOverAsync(Link<T> input, T item, long number)
    {
        SetActivity(StageActivity.WaitingForForeignCode);
        Exception? failure = null;
        bool isAccepted = false;
        try
        {
            ValueTask<bool> sending = _target!.SendAsync(item, DiscardToken);
            if (!sending.IsCompleted)
                FlushInputs();
            isAccepted = await sending.ConfigureAwait(false);
        }
        catch (Exception error)
        {
            failure = error;
        }

        SetActivity(StageActivity.Working);
        if (isAccepted)
        {
            Counters.CountDelivered();
            input.Release(1);
            return;
        }

        if (failure is null || IsDiscarding)
        {
            if (failure is not null and not OperationCanceledException)
                Graph.AddSecondary(new StageFaultedException(Name, failure, number, attempt: 1));
            if (!IsDiscarding)
                await OnTargetEndedAsync().ConfigureAwait(false);
            DiscardInWork(item, ReasonToDiscard);
            input.Release(1);
            return;
        }

        Counters.CountFailed();
        input.Release(1);
        Fail(failure, number, attempt: 1);
    }

    /// <summary>The target takes no more: it has completed, which is a lack of demand, or failed, which is a failure.</summary>
    private async ValueTask OnTargetEndedAsync()
    {
        if (_targetCompletion is null)
        {
            RaiseDiscard(DiscardReason.NoDemand);
            return;
        }

        if (!await HasTargetEndedInTimeAsync(_targetCompletion).ConfigureAwait(false))
            Fail(new InvalidOperationException($"The foreign block behind '{Name}' declined an item for good, but its Completion did not end within {Graph.Options.AbortTimeout}."));
        else if (_targetCompletion.IsCompletedSuccessfully)
            RaiseDiscard(DiscardReason.NoDemand);
        else
            FailWithTarget(_targetCompletion);
    }

    /// <returns>False when the target has not ended within the abort time-out.</returns>
    private async ValueTask<bool> HasTargetEndedInTimeAsync(Task completion)
    {
        using ITimer timer = Time.CreateTimer(static state => ((StageNode)state!).Wake(), this, Graph.Options.AbortTimeout, Timeout.InfiniteTimeSpan);
        long since = Time.GetTimestamp();
        while (!completion.IsCompleted)
        {
            if (Time.GetElapsedTime(since) >= Graph.Options.AbortTimeout)
                return false;
            await WaitAsync(StageActivity.WaitingForForeignCode).ConfigureAwait(false);
        }

        return true;
    }

    /// <summary>Makes the failure of the target, if it is one, that of the stage. Once: two places may see the same end.</summary>
    private void FailWithTarget(Task completion)
    {
        if (_hasFailed)
            return;
        _hasFailed = true;
        if (completion.IsFaulted)
            this.FailWith(completion.Exception!, _told);
        else if (completion.IsCanceled && _told is null)
            Fail(new TaskCanceledException($"The foreign block behind '{Name}' was cancelled."));
    }

    /// <summary>Passes the end of the stream, or our own, on to the target.</summary>
    private void TellTarget()
    {
        EndMarker end = ExpectedEnd();
        try
        {
            if (end.Kind == EndKind.Completed && !IsDiscarding)
            {
                _target!.Complete();
            }
            else
            {
                _told = end.Cause ?? Graph.Cause ?? new OperationCanceledException($"The pipeline gave up before '{Name}' had handed over all its items.");
                _target!.Fault(_told);
            }
        }
        catch (Exception error)
        {
            Fail(error);
        }
    }
}
