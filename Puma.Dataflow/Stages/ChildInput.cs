using System.Diagnostics;
using System.Runtime.CompilerServices;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>An input of an isolated stage.</summary>
internal abstract class ChildInput
{
    /// <summary>Whether the child was told that this input has ended.</summary>
    public bool IsEndTold { get; set; }

    public abstract bool HasEnded { get; }

    public abstract bool TryTake(out HeldInput item);

    /// <summary>Takes short items, and writes their payloads into an empty packer.</summary>
    /// <param name="number">The number of the first one.</param>
    /// <param name="packer">Stays empty when there is no pack.</param>
    /// <param name="writer">Is empty, and so again afterwards.</param>
    /// <param name="maxPayload">The most bytes of a payload.</param>
    /// <param name="singles">Becomes what comes behind the pack and is to be sent one by one.</param>
    /// <returns>Null when there are less than two that belong together.</returns>
    public abstract HeldPack? TakePack(long number, FramePacker packer, PayloadWriter writer, int maxPayload, List<HeldInput> singles);
}

/// <inheritdoc/>
internal sealed class ChildInput<T>(StageNode stage, Link<T> link, ItemCodecs codecs, Func<T, int>? keyHash) : ChildInput
{
    private readonly ItemCodec<T> _codec = codecs.For<T>();
    private readonly Stack<HeldOne> _spares = [];
    private readonly Stack<HeldMany> _sparePacks = [];
    private readonly T[] _burst = new T[Turn.ItemsPerLook];

    public override bool HasEnded => link.End is not null;

    public override bool TryTake(out HeldInput item)
    {
        item = null!;
        if (!link.TryRead(out T value))
            return false;
        link.CountReceived();
        item = Hold(value);
        return true;
    }

    public override HeldPack? TakePack(long number, FramePacker packer, PayloadWriter writer, int maxPayload, List<HeldInput> singles)
    {
        HeldMany many = _sparePacks.TryPop(out HeldMany? spare) ? spare : new HeldMany(this);
        singles.Clear();
        while (singles.Count == 0 && link.ReadMany(_burst.AsSpan(0, Math.Min(_burst.Length, packer.SureRoom))) is > 0 and int count)
        {
            link.CountReceived(count);
            ReadOnlySpan<T> read = _burst.AsSpan(0, count);
            int packed = 0;
            for (; packed < read.Length; packed++)
            {
                int length = LengthOf(read[packed], packer, writer);
                if (length < 0 || length > maxPayload)
                    break;
                packer.Add(number++, length);
            }

            many.Add(read[..packed]);
            foreach (T value in read[packed..])
                singles.Add(Hold(value));
            if (RuntimeHelpers.IsReferenceOrContainsReferences<T>())
                Array.Clear(_burst, 0, count);
        }

        if (many.Count == 1 && singles.Count == 0)
            singles.Add(Hold(many.TakeOnly()));
        if (many.Count > 0)
        {
            many.Number = number - many.Count;
            return many;
        }

        packer.Clear();
        _sparePacks.Push(many);
        return null;
    }

    /// <returns>Negative when it is no short payload.</returns>
    private int LengthOf(T value, FramePacker packer, PayloadWriter writer)
    {
        try
        {
            return _codec.WriteShort(writer, packer.Room, value);
        }
        catch (Exception)
        {
            // Who sends it by itself meets the same and tells of it.
            return -1;
        }
    }

    private HeldOne Hold(T value)
    {
        HeldOne held = _spares.TryPop(out HeldOne? spare) ? spare : new HeldOne(this);
        held.Value = value;
        return held;
    }

    private sealed class HeldMany(ChildInput<T> input) : HeldPack
    {
        private T[] _values = new T[16];
        private int _first;
        private int _end;
        private HeldInput[]? _items;

        public override int Count => _end - _first;

        public override IReadOnlyList<HeldInput> Items => _items ??= [.. Enumerable.Range(0, Count).Select(ItemAt)];

        public void Add(ReadOnlySpan<T> values)
        {
            if (values.Length > _values.Length - _end)
                Array.Resize(ref _values, Math.Max(2 * _values.Length, _end + values.Length));
            values.CopyTo(_values.AsSpan(_end));
            _end += values.Length;
        }

        public T TakeOnly()
        {
            T value = _values[0];
            Clear();
            return value;
        }

        public override bool SettleDelivered(int count)
        {
            Debug.Assert(_items is null && count <= Count, "It was not taken apart, and holds these.");
            (_first, Number) = (_first + count, Number + count);
            input.Stage.Counters.CountDelivered(count);
            input.Link.Release(count);
            if (Count > 0)
                return false;
            Clear();
            Slot = null;
            input._sparePacks.Push(this);
            return true;
        }

        private HeldOne ItemAt(int index)
        {
            HeldOne item = input.Hold(_values[_first + index]);
            (item.Number, item.Slot) = (Number + index, Slot);
            return item;
        }

        private void Clear()
        {
            if (RuntimeHelpers.IsReferenceOrContainsReferences<T>())
                Array.Clear(_values, 0, _end);
            (_first, _end) = (0, 0);
        }
    }

    private sealed class HeldOne(ChildInput<T> input) : HeldInput(input)
    {
        private readonly ChildInput<T> _input = input;

        public T Value { get; set; } = default!;

        public override object? Untyped => Value;

        public override void Encode(PayloadWriter writer) => _input._codec.Write(writer, Value);

        protected override ValueTask BookAsync(Fate fate)
        {
            if (fate.Kind != FateKind.Delivered)
                return _input.Stage.SettleAsync(_input.Link, Value, Number, fate);
            _input.Stage.Counters.CountDelivered();
            _input.Link.Release(1);
            return default;
        }

        public override int KeyHash() => _input.KeyHashOf is { } hash ? hash(Value) : 0;

        public override void Recycle()
        {
            base.Recycle();
            Value = default!;
            _input._spares.Push(this);
        }
    }

    private StageNode Stage => stage;

    private Link<T> Link => link;

    private Func<T, int>? KeyHashOf => keyHash;
}
