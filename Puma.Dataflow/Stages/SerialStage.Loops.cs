using System.Runtime.CompilerServices;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <content>The loops over items that have one attempt and come over a fast link. Each is a method of its own, so that its locals stay in registers.</content>
internal sealed partial class SerialStage<TIn, TOut, TOutputs>
{
    /// <inheritdoc cref="HandleBurst"/>
    private bool HandleFastBurst(BurstLink<TIn> input, long last, out TIn item, out ValueTask<Fate> handling)
    {
        // Looked up once: this method stays on its thread.
        Turn? turn = _transform is null ? null : Turn.Here;
        do
        {
            BurstLink<TIn>.Reads from = input.BeginReads(last - _number);
            if (from.Count == 0)
                break;
            if (Handle(from, turn, out item, out handling))
                return true;
        }
        while (_number < last && !NeedsAttention);
        (item, handling) = (default!, default);
        return false;
    }

    /// <summary>Handles some of these items, as long as each is delivered at once.</summary>
    /// <inheritdoc cref="HandleBurst"/>
    private bool Handle(BurstLink<TIn>.Reads from, Turn? turn, out TIn item, out ValueTask<Fate> handling)
    {
        if (_action is not null)
            return Consume(_action, from, out item, out handling);
        if (_transform is null)
            return Deliver(from, out item, out handling);
        BurstLink<TOut>.Writes to = _fastOutput!.BeginWrites(from.Count, turn);

        // Without a place one item goes the general way, which looks further, makes room, or waits.
        return to.Count > 0 ? Transform(_transform, from, to, out item, out handling) : Deliver(from.First, out item, out handling);
    }

    /// <summary>Items for any handler.</summary>
    /// <inheritdoc cref="HandleBurst"/>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool Deliver(BurstLink<TIn>.Reads from, out TIn item, out ValueTask<Fate> handling)
    {
        ItemHandler<TIn, TOut> handler = _handler;
        TOutputs outputs = _outputs;
        StageContext context = _attempts.BeginSimple();
        StageCounters counters = Counters;
        CancellationToken token = DiscardToken;
        for (int i = 0; i < from.Count && from.TryTake(i, out TIn current); i++)
        {
            context.ItemNumber = ++_number;
            ValueTask now;
            bool isDelivered;
            try
            {
                // The task may be one of user code, and fail when it is looked at.
#pragma warning disable CA2012, VSTHRD002 // On each path it is consumed once; here it has completed.
                now = handler.HandleAsync(current, outputs, token);
                isDelivered = now.IsCompletedSuccessfully && !outputs.WasRefused;
                if (isDelivered)
                    now.GetAwaiter().GetResult();
#pragma warning restore CA2012, VSTHRD002
            }
            catch (Exception error)
            {
                item = current;
                handling = _attempts.FailedAsync(error, outputs, token);
                return true;
            }

            if (!isDelivered)
            {
                item = current;
                handling = _attempts.AwaitAsync(now, outputs, token);
                return true;
            }

            counters.CountDelivered();
            from.Release();
            if (NeedsAttention)
                break;
        }

        (item, handling) = (default!, default);
        return false;
    }

    /// <summary>The most common stage: a delegate that returns one output for each item, between two fast links. There are no more places than items.</summary>
    /// <inheritdoc cref="HandleBurst"/>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool Transform(Func<TIn, CancellationToken, TOut> transform, BurstLink<TIn>.Reads from, BurstLink<TOut>.Writes to, out TIn item, out ValueTask<Fate> handling)
    {
        StageCounters counters = Counters;
        CancellationToken token = DiscardToken;
        int taken = 0;
        while (taken < to.Count && from.TryTake(taken, out TIn current))
        {
            TOut value;
            try
            {
                value = transform(current, token);
            }
            catch (Exception error)
            {
                item = current;
                handling = FailedAsync(taken + 1, error);
                return true;
            }

            // What the stage was told meanwhile is seen here, before the output leaves.
            if (NeedsAttention || !to.TryPut(taken, value))
            {
                item = current;
                handling = PassOnAsync(taken + 1, value);
                return true;
            }

            counters.CountDelivered();
            from.Release();
            taken++;
        }

        _number += taken;
        (item, handling) = (default!, default);
        return false;
    }

    /// <summary>A delegate without an output.</summary>
    /// <inheritdoc cref="HandleBurst"/>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool Consume(Action<TIn, CancellationToken> action, BurstLink<TIn>.Reads from, out TIn item, out ValueTask<Fate> handling)
    {
        StageCounters counters = Counters;
        CancellationToken token = DiscardToken;
        int taken = 0;
        while (taken < from.Count && from.TryTake(taken, out TIn current))
        {
            taken++;
            try
            {
                action(current, token);
            }
            catch (Exception error)
            {
                item = current;
                handling = FailedAsync(taken, error);
                return true;
            }

            counters.CountDelivered();
            from.Release();
            if (NeedsAttention)
                break;
        }

        _number += taken;
        (item, handling) = (default!, default);
        return false;
    }

    /// <summary>Counts what a loop has taken. Only here the context learns the number: a bare delegate does not see it.</summary>
    private void NoteTaken(int count) => _attempts.BeginSimple().ItemNumber = _number += count;

    /// <summary>The item that was taken last has failed.</summary>
    private ValueTask<Fate> FailedAsync(int taken, Exception error)
    {
        NoteTaken(taken);
        return _attempts.FailedAsync(error, _outputs, DiscardToken);
    }

    /// <summary>Passes on the output of the item that was taken last.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)] // rare, and the frequent path is short without it
    private ValueTask<Fate> PassOnAsync(int taken, TOut value)
    {
        NoteTaken(taken);
        return _attempts.AwaitAsync(_outputs.PassAsync(value, DiscardToken), _outputs, DiscardToken);
    }
}
