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
        // On one thread until it returns.
        Turn? turn = Turn.Here;
        do
        {
            BurstLink<TIn>.Reads from = input.BeginReads(last - _number);
            if (from.Count == 0)
                break;
            if (!TryDeliver(from, turn, out item, out handling))
                return true;
        }
        while (_number < last && !NeedsAttention);
        (item, handling) = (default!, default);
        return false;
    }

    /// <summary>Handles items, as long as each is delivered at once. Some may be left when this returns.</summary>
    /// <param name="from">The items.</param>
    /// <param name="turn"><see cref="Turn.Here"/>.</param>
    /// <param name="item">The item that takes longer, or has another fate.</param>
    /// <param name="handling">How it goes on.</param>
    /// <returns>False when there is such an item.</returns>
    private bool TryDeliver(BurstLink<TIn>.Reads from, Turn? turn, out TIn item, out ValueTask<Fate> handling)
    {
        if (_action is not null)
            return TryConsume(_action, from, out item, out handling);
        if (_transform is null)
            return TryDeliver(_handler, from, out item, out handling);
        BurstLink<TOut>.Writes to = _fastOutput!.BeginWrites(from.Count, turn);
        return to.Count > 0 ? TryTransform(_transform, from, to, out item, out handling) : TryDeliver(_handler, from.First, out item, out handling);
    }

    /// <inheritdoc cref="TryDeliver(BurstLink{TIn}.Reads, Turn?, out TIn, out ValueTask{Fate})"/>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool TryDeliver(ItemHandler<TIn, TOut> handler, BurstLink<TIn>.Reads from, out TIn item, out ValueTask<Fate> handling)
    {
        TOutputs outputs = _outputs;
        StageContext context = _attempts.BeginSimple();
        StageCounters counters = Counters;
        CancellationToken token = DiscardToken;
        for (int i = 0; i < from.Count; i++)
        {
            if (!from.TryTake(i, out TIn current))
                break;
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
                return false;
            }

            if (!isDelivered)
            {
                item = current;
                handling = _attempts.AwaitAsync(now, outputs, token);
                return false;
            }

            counters.CountDelivered();
            from.Release();
            if (NeedsAttention)
                break;
        }

        (item, handling) = (default!, default);
        return true;
    }

    /// <summary>The same for the most common stage: a delegate that returns one output for each item, between two fast links.</summary>
    /// <param name="transform">The delegate.</param>
    /// <param name="from">The items.</param>
    /// <param name="to">Places for the outputs; no more than there are items.</param>
    /// <param name="item">The item that takes longer, or has another fate.</param>
    /// <param name="handling">How it goes on.</param>
    /// <returns>False when there is such an item.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool TryTransform(Func<TIn, CancellationToken, TOut> transform, BurstLink<TIn>.Reads from, BurstLink<TOut>.Writes to, out TIn item, out ValueTask<Fate> handling)
    {
        StageCounters counters = Counters;
        CancellationToken token = DiscardToken;
        int i = 0;
        for (; i < to.Count; i++)
        {
            if (!from.TryTake(i, out TIn current))
                break;
            TOut value;
            try
            {
                value = transform(current, token);
            }
            catch (Exception error)
            {
                item = current;
                handling = FailedAsync(i + 1, error);
                return false;
            }

            if (NeedsAttention || !to.TryPut(i, value))
            {
                item = current;
                handling = PassOnAsync(i + 1, value);
                return false;
            }

            counters.CountDelivered();
            from.Release();
        }

        _number += i;
        (item, handling) = (default!, default);
        return true;
    }

    /// <summary>The same for a delegate that has no output.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool TryConsume(Action<TIn, CancellationToken> action, BurstLink<TIn>.Reads from, out TIn item, out ValueTask<Fate> handling)
    {
        StageCounters counters = Counters;
        CancellationToken token = DiscardToken;
        int i = 0;
        while (i < from.Count)
        {
            if (!from.TryTake(i++, out TIn current))
                break;
            try
            {
                action(current, token);
            }
            catch (Exception error)
            {
                item = current;
                handling = FailedAsync(i, error);
                return false;
            }

            counters.CountDelivered();
            from.Release();
            if (NeedsAttention)
                break;
        }

        _number += i;
        (item, handling) = (default!, default);
        return true;
    }

    /// <summary>Ends the attempt at the last of some items.</summary>
    private ValueTask<Fate> FailedAsync(int taken, Exception error)
    {
        _attempts.BeginSimple().ItemNumber = _number += taken;
        return _attempts.FailedAsync(error, _outputs, DiscardToken);
    }

    /// <summary>Passes on the output of the last of some items.</summary>
    private ValueTask<Fate> PassOnAsync(int taken, TOut value)
    {
        _attempts.BeginSimple().ItemNumber = _number += taken;
        return _attempts.AwaitAsync(_outputs.PassAsync(value, DiscardToken), _outputs, DiscardToken);
    }
}
