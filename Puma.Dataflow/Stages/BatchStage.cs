using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Gathers items into arrays by count or weight, or when the oldest of them is old enough.</summary>
internal sealed class BatchStage<T>(StageSetup setup, int limit, TimeSpan? maxAge, Func<T, long>? weight) : MovingStage(setup)
{
    private readonly List<T> _batch = [];
    private Link<T> _input = null!;
    private Link<T[]> _output = null!;
    private long _weight;
    private long _number;
    private long _since;
    private ITimer? _timer;

    private TimeSpan Age => Time.GetElapsedTime(_since);

    protected override async Task RunAsync()
    {
        _input = (Link<T>)Inputs[0];
        _output = (Link<T[]>)Outputs[0];
        if (maxAge is not null)
            _timer = Time.CreateTimer(static state => ((StageNode)state!).RaiseControl(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        while (!MustEnd)
        {
            if (Has(Attention.Control))
            {
                Clear(Attention.Control);
                if (_batch.Count > 0 && Age >= maxAge)
                    await FlushAsync().ConfigureAwait(false);
                else
                    ArmTimer();
            }

            if (_input.TryRead(out T item))
                await AddAsync(item).ConfigureAwait(false);
            else if (!await WaitForInputAsync().ConfigureAwait(false))
                break;
        }

        // A stage that is asked to finish passes on what it has; one that gives up does not.
        if (!MustGiveUp)
            await FlushAsync().ConfigureAwait(false);
    }

    protected override ValueTask ReturnAllAsync()
    {
        _timer?.Dispose();
        foreach (T item in _batch)
            Settle(_input, item, isDelivered: false, DiscardReason.NoDemand);
        _batch.Clear();
        return default;
    }

    private async ValueTask AddAsync(T item)
    {
        _input.CountReceived();
        _number++;
        long itemWeight = 1;
        if (weight is not null)
        {
            try
            {
                itemWeight = weight(item);
                ArgumentOutOfRangeException.ThrowIfNegative(itemWeight, nameof(weight));
            }
            catch (Exception error)
            {
                // What came before it leaves first.
                await FlushAsync().ConfigureAwait(false);
                await this.SettleAsync(_input, item, _number, new Fate(FateKind.Failed, error)).ConfigureAwait(false);
                return;
            }

            // No batch is heavier than the limit, but for an item that is so by itself.
            if (_batch.Count > 0 && itemWeight > limit - _weight)
            {
                await FlushAsync().ConfigureAwait(false);
                if (IsDiscarding)
                {
                    Settle(_input, item, isDelivered: false, DiscardReason.NoDemand);
                    return;
                }
            }
        }

        _batch.Add(item);
        _weight += itemWeight;
        if (_batch.Count == 1)
        {
            _since = Time.GetTimestamp();
            ArmTimer();
        }

        // Light items could otherwise fill every slot without ever making a batch.
        if (_weight >= limit || _batch.Count >= _input.Capacity)
            await FlushAsync().ConfigureAwait(false);
    }

    private async ValueTask FlushAsync()
    {
        if (_batch.Count == 0)
            return;
        _timer?.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        T[] batch = [.. _batch];
        bool isDelivered = await WriteAsync(_output, batch).ConfigureAwait(false);
        foreach (T item in batch)
            Settle(_input, item, isDelivered, DiscardReason.NoDemand);
        _batch.Clear();
        _weight = 0;
    }

    private void ArmTimer()
    {
        if (_timer is null || _batch.Count == 0)
            return;
        TimeSpan left = maxAge!.Value - Age;
        _timer.Change(left > TimeSpan.Zero ? left : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
    }
}
