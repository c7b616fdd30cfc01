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
    /// <param name="packer">Stays empty when there is no pack.</param>
    /// <param name="writer">Is emptied; holds the payload of the first of the singles afterwards, if that could be written.</param>
    /// <param name="maxPayload">The most bytes of a payload.</param>
    /// <param name="singles">Gets what was taken behind the pack and is to be sent one by one.</param>
    /// <returns>Null when the next item is none that is short, or there is none.</returns>
    public abstract HeldPack? TakePack(FramePacker packer, PayloadWriter writer, int maxPayload, List<HeldInput> singles);
}

/// <inheritdoc/>
internal sealed class ChildInput<T>(StageNode stage, Link<T> link, ItemCodecs codecs, Func<T, int>? keyHash) : ChildInput
{
    private readonly ItemCodec<T> _codec = codecs.For<T>();
    private readonly Stack<TypedItem> _spares = [];
    private readonly Stack<TypedPack> _sparePacks = [];
    private readonly T[] _burst = new T[Turn.ItemsPerLook];

    private StageNode Stage => stage;

    private Link<T> Link => link;

    private Func<T, int>? KeyHashOf => keyHash;

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

    public override HeldPack? TakePack(FramePacker packer, PayloadWriter writer, int maxPayload, List<HeldInput> singles)
    {
        writer.Reset();
        TypedPack pack = _sparePacks.TryPop(out TypedPack? spare) ? spare : new TypedPack(this);
        int longest = Math.Min(FramePack.LongestPayload, maxPayload);
        while (singles.Count == 0 && link.ReadMany(_burst.AsSpan(0, Math.Min(_burst.Length, packer.RoomFor(_codec.LongestShort)))) is > 0 and int count)
        {
            link.CountReceived(count);
            Span<T> read = _burst.AsSpan(0, count);
            int packed = _codec.WriteMany(writer, packer, longest, read);
            pack.Add(read[..packed]);
            foreach (T value in read[packed..])
                singles.Add(Hold(value));
            if (RuntimeHelpers.IsReferenceOrContainsReferences<T>())
                read.Clear();
        }

        if (pack.Count > 0)
            return pack;
        _sparePacks.Push(pack);
        return null;
    }

    private TypedItem Hold(T value)
    {
        TypedItem held = _spares.TryPop(out TypedItem? spare) ? spare : new TypedItem(this);
        held.Value = value;
        return held;
    }

    private sealed class TypedPack(ChildInput<T> input) : HeldPack
    {
        private T[] _values = new T[16];
        private int _first;
        private int _end;

        // Made once: the slot and the order must hold the same ones.
        private HeldInput[]? _items;

        public override int Count => _end - _first;

        public override IReadOnlyList<HeldInput> TakeApart() => _items ??= [.. Enumerable.Range(0, Count).Select(ItemAt)];

        public void Add(ReadOnlySpan<T> values)
        {
            if (values.Length > _values.Length - _end)
                Array.Resize(ref _values, Math.Max(2 * _values.Length, _end + values.Length));
            values.CopyTo(_values.AsSpan(_end));
            _end += values.Length;
        }

        public override bool SettleDelivered(int count)
        {
            Debug.Assert(_items is null && count <= Count, "It was not taken apart, and holds these.");
            (_first, Number) = (_first + count, Number + count);
            input.Stage.Counters.CountDelivered(count);
            input.Link.Release(count);
            if (Count > 0)
                return false;
            if (RuntimeHelpers.IsReferenceOrContainsReferences<T>())
                Array.Clear(_values, 0, _end);
            (_first, _end, Slot) = (0, 0, null);
            input._sparePacks.Push(this);
            return true;
        }

        private TypedItem ItemAt(int index)
        {
            TypedItem item = input.Hold(_values[_first + index]);
            (item.Number, item.Slot) = (Number + index, Slot);
            return item;
        }
    }

    private sealed class TypedItem(ChildInput<T> input) : HeldInput(input)
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
}
