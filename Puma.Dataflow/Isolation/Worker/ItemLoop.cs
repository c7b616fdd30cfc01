using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Hands the items that come to code without a body, one after the other, and each as often as the parent says. Belongs to the worker's stream.</summary>
internal sealed class ItemLoop(StartRecord start, HostedCode code, StageContext context, InstanceControl instance, FrameChannel data, WorkerControl control, ResultWriter results)
{
    private readonly ItemInWork _item = control.Item;
    private readonly ChildOutputs _outputs = control.Outputs;
    private readonly PayloadReader _reader = new();

    private readonly PackInWork _pack = new(context, control);

    /// <returns>True when all input was handled and the code was told so.</returns>
    public async Task<bool> RunAsync()
    {
        while (true)
        {
            if (control.IsOver)
                return false;
            if (control.Has(WorkerAttention.Control))
            {
                control.ClearControl();
                await instance.CheckpointAsync().ConfigureAwait(false);
            }

            if (!data.TryPeek(out Frame frame))
            {
                if (data.HasEnded)
                    return false;
                await code.IdleAsync(control.DiscardToken).ConfigureAwait(false);

                // It may have waited, and taken the signals of what came meanwhile.
                if (!data.TryPeek(out _) && !data.HasEnded && !control.IsOver && !control.Has(WorkerAttention.Control))
                {
                    await results.WaitAsync().ConfigureAwait(false);
                    results.BeginWork();
                }

                continue;
            }

            switch (frame.Type)
            {
                case FrameType.Item when _item.IsAboveLimit(frame.Number):
                    await results.WaitAsync().ConfigureAwait(false);
                    break;
                case FrameType.Item:
                    if (!TryHandlePack(out Exception? failure))
                        await HandleAsync(frame).ConfigureAwait(false);
                    else if (failure is not null)
                        await TellFailedAsync(failure).ConfigureAwait(false);
                    break;
                case FrameType.InputEnded:
                    data.Advance();
                    await code.InputEndedAsync(frame.Port, control.DiscardToken).OnOwnStackAsync().ConfigureAwait(false);
                    break;
                case FrameType.Complete:
                    data.Advance();
                    await code.CompletedAsync(control.DiscardToken).ConfigureAwait(false);
                    return true;
                default:
                    throw new ProtocolViolationException($"The parent sent a {frame.Type} frame on the data connection.");
            }
        }
    }

    /// <summary>Handles the items of a pack that can be handled in one go.</summary>
    /// <param name="failure">What the last of them threw; it is in work still. Null when none did.</param>
    /// <returns>False when none was handled: the next item is to be handled by itself.</returns>
    private bool TryHandlePack(out Exception? failure)
    {
        failure = null;
        if (!code.HandlesPacks || !data.TryPeekPack(out FramePack pack) || !_pack.TryStart(pack.Number))
            return false;
        long first = pack.Number;

        // A result that is long goes out with the end of its item.
        results.BeginBurst();
        failure = code.HandlePack(ref pack, _pack);
        results.EndBurst();

        // While the item is noted still: this may be the end of the process.
        if (failure is not null)
            Threw(failure, _item.Number);
        _pack.End();
        if (failure is null)
            _item.Leave();
        if (pack.Number == first)
            return false;
        data.Advance(pack);
        return true;
    }

    private async ValueTask TellFailedAsync(Exception failure)
    {
        long number = _item.Number;
        Tell(failure, isTimedOut: false, number, attempt: 1, _pack.Token);
        await WaitForVerdictAsync(number).ConfigureAwait(false);
        _item.Leave();
    }

    /// <summary>Handles an item to its end. Most are handled at once, without any wait.</summary>
    private ValueTask HandleAsync(in Frame frame)
    {
        long number = frame.Number;

        // A replay after a loss goes on with the attempt that it had reached. From there the attempts are counted here, because a frame has one byte for them.
        int attempt = Math.Max((int)frame.Attempt, 1);
        HeldItem item;
        _item.Announce(number);
        try
        {
            _reader.Reset(frame.Payload, (frame.Flags & FrameFlags.HasBlocks) != 0, data.LongPayload);
            item = code.Read(frame.Port, _reader);
        }
        catch (Exception error)
        {
            data.Advance();
            _item.Withdraw();
            results.SendFailed(number, attempt, error, FrameFlags.NotCarried);
            return new ValueTask(WaitForVerdictAsync(number).AsTask());
        }

        data.Advance();
        ValueTask<bool> trying = TryHandleAsync(item, number, attempt);
        if (!trying.IsCompletedSuccessfully)
            return GoOnAsync(trying, item, number, attempt);
#pragma warning disable VSTHRD002 // It has completed.
        if (!trying.Result)
#pragma warning restore VSTHRD002
            return GoOnAsync(new ValueTask<bool>(false), item, number, attempt);
        Leave(item);
        return default;
    }

    private async ValueTask GoOnAsync(ValueTask<bool> trying, HeldItem item, long number, int attempt)
    {
        while (!await trying.ConfigureAwait(false) && await WaitForVerdictAsync(number).ConfigureAwait(false))
            trying = TryHandleAsync(item, number, ++attempt);
        Leave(item);
    }

    private void Leave(HeldItem item)
    {
        item.Leave();
        _item.Leave();
        _reader.Release();
    }

    /// <returns>False when the attempt failed and that was told.</returns>
    private ValueTask<bool> TryHandleAsync(HeldItem item, long number, int attempt)
    {
        (context.ItemNumber, context.Attempt) = (number, attempt);
        if (!_item.TryBegin(number, attempt, out CancellationToken token))
            return GiveUpAsync();
        if (start.TellsItems)
            control.Say(FrameType.Began, number, attempt: attempt);
        if (Holds(item))
            _outputs.Hold();
        ValueTask<Exception?> calling = CallAsync(item, number, token);
#pragma warning disable VSTHRD002 // It has completed.
        return calling.IsCompletedSuccessfully ? EndAttemptAsync(calling.Result, item, number, attempt, token) : EndLaterAsync(calling, item, number, attempt, token);
#pragma warning restore VSTHRD002
    }

    /// <summary>The item is given up as soon as the lower one that failed is the stage's failure.</summary>
    private async ValueTask<bool> GiveUpAsync()
    {
        _item.Withdraw();
        while (!control.IsOver)
            await results.WaitAsync().ConfigureAwait(false);
        return true;
    }

    private async ValueTask<bool> EndLaterAsync(ValueTask<Exception?> calling, HeldItem item, long number, int attempt, CancellationToken token) =>
        await EndAttemptAsync(await calling.ConfigureAwait(false), item, number, attempt, token).ConfigureAwait(false);

    private ValueTask<bool> EndAttemptAsync(Exception? failure, HeldItem item, long number, int attempt, CancellationToken token)
    {
        bool isTimedOut = _item.EndAttempt();
        if (start.TellsItems)
            control.Say(FrameType.Returned);
        return failure is null && !isTimedOut && Holds(item)
            ? TellHeldAsync(number, attempt, token)
            : new ValueTask<bool>(Tell(failure, isTimedOut, number, attempt, token));
    }

    private async ValueTask<bool> TellHeldAsync(long number, int attempt, CancellationToken token) =>
        Tell(await PassHeldAsync().ConfigureAwait(false), isTimedOut: false, number, attempt, token);

    /// <summary>Tells how an attempt has ended.</summary>
    /// <returns>False when it failed.</returns>
    private bool Tell(Exception? failure, bool isTimedOut, long number, int attempt, CancellationToken token)
    {
        bool wasRefused = _outputs.TakeRefused();
        if (failure is null && !isTimedOut)
        {
            results.SendDone(number, attempt, wasRefused);
            return true;
        }

        _outputs.DropHeld();
        FrameFlags flags = isTimedOut ? FrameFlags.TimedOut : FrameFlags.None;
        if (failure is ItemCodecException)
            flags |= FrameFlags.NotCarried;

        // The item's token follows that of the worker a little later.
        bool isOurs = !isTimedOut && (token.IsCancellationRequested || control.IsDiscarding);
        if (isOurs && (failure is OperationCanceledException || (wasRefused && failure?.InnerException is OperationCanceledException)))
            flags |= FrameFlags.Canceled;
        results.SendFailed(number, attempt, failure, flags);
        return false;
    }

    /// <summary>Whether outputs are kept back until the attempt has returned in time.</summary>
    private bool Holds(HeldItem item) => start.Retries > 0 || (start.TellsItems && item.EmitsLast);

    /// <returns>What the code threw, if anything.</returns>
    private ValueTask<Exception?> CallAsync(HeldItem item, long number, CancellationToken token)
    {
        // What it makes at once goes out together; from its first wait on, each output within two milliseconds.
        results.BeginBurst();
        try
        {
            ValueTask handling = item.HandleAsync(token);
            if (!handling.IsCompletedSuccessfully || _outputs.IsEmitting)
            {
                results.EndBurst();
                return WaitForAsync(handling, number);
            }

            handling.GetAwaiter().GetResult();
            return default;
        }
        catch (Exception error) when (_outputs.IsEmitting)
        {
            results.EndBurst();
            return WaitForAsync(ValueTask.FromException(error), number);
        }
        catch (Exception error)
        {
            return new ValueTask<Exception?>(Threw(error, number));
        }
        finally
        {
            results.EndBurst();
        }
    }

    private async ValueTask<Exception?> WaitForAsync(ValueTask handling, long number)
    {
        Exception? failure = null;
        results.Flush();
        try
        {
            await handling.OnOwnStackAsync().ConfigureAwait(false);
        }
        catch (Exception error)
        {
            failure = Threw(error, number);
        }

        // What it has not awaited belongs to the item all the same, and must not come behind its end.
        await _outputs.EmitsReturnedAsync().ConfigureAwait(false);
        return failure;
    }

    private Exception Threw(Exception error, long number)
    {
        if (error is OutOfMemoryException)
            _item.GiveUp($"Out of memory while item {number} was handled: {ExceptionText.MessageOf(error)}");
        return error;
    }

    /// <returns>What went wrong, if anything.</returns>
    private async ValueTask<Exception?> PassHeldAsync()
    {
        results.BeginBurst();
        try
        {
            await _outputs.PassHeldAsync().ConfigureAwait(false);
            return null;
        }
        catch (Exception error)
        {
            return error;
        }
        finally
        {
            results.EndBurst();
        }
    }

    /// <returns>Whether the item is tried again.</returns>
    private async ValueTask<bool> WaitForVerdictAsync(long number)
    {
        // Nothing that the parent can say makes a difference then.
        if (!start.FaultsAtError && start.Retries == 0)
            return false;
        while (!control.IsOver)
        {
            if (control.TakeVerdict(number) is { } isRetry)
                return isRetry;
            await results.WaitAsync().ConfigureAwait(false);
        }

        return false;
    }
}
