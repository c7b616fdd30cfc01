using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Buffers;

/// <content>
/// For loops over many values: what is the same for all of them is looked up once, and each one is still handed over, and its slot given back,
/// by itself, so that nobody waits for the end of the loop.
/// </content>
internal sealed partial class BurstLink<T>
{
    /// <summary>Begins to read values that are there, and lie together. Reader only, which reads nothing in another way until it has done with these.</summary>
    /// <param name="most">No more than so many; at least 1.</param>
    /// <returns>None when nothing is there.</returns>
    public Reads BeginReads(long most)
    {
        Debug.Assert(most > 0, "Who reads nothing need not begin.");
        ReaderSide read = _read;
        long position = read.Position;
        if ((position == read.PublishedSeen && !TryTakeBurst(position)) || IsShutting)
            return default;
        if (read.Released >= read.Looks.Due)
            read.Looks.Look(Reader, read.Released);
        Ring ring = read.Ring;
        while (position == ring.End)
            ring = read.Ring = ring.Next!;
        long count = Math.Min(Math.Min(read.PublishedSeen, ring.End) - position, Math.Min(read.Looks.Due - read.Released, most));
        Span<T> places = ring.PlacesFrom(position);
        return new Reads(this, read, places[..(int)Math.Min(count, places.Length)]);
    }

    /// <summary>Begins to write values for which there are slots, and places that lie together. Writer only, which writes nothing in another way until it has done with these.</summary>
    /// <param name="most">No more than so many; at least 1.</param>
    /// <param name="turn"><see cref="Turn.Here"/>.</param>
    /// <returns>None when nothing is free, or more than ever would be in use. To write a single value tells.</returns>
    public Writes BeginWrites(int most, Turn? turn)
    {
        Debug.Assert(most > 0, "Who writes nothing need not begin.");
        WriterSide write = _write;
        long position = write.Published;
        if (position >= write.RoomSeen)
        {
            write.ReleasedSeen = Volatile.Read(ref _read.Released);
            write.RoomSeen = Math.Min(write.RoomEnd, write.ReleasedSeen + write.MaxHeld - write.Reserved);
            if (position >= write.RoomSeen)
                return default;
        }

        if (position >= write.Looks.Due)
            write.Looks.Look(Writer, position);
        long count = Math.Min(Math.Min(write.RoomSeen, write.Looks.Due) - position, most);
        Span<T> places = write.Ring.PlacesFrom(position);
        return new Writes(this, write, turn ?? Turn.None, places[..(int)Math.Min(count, places.Length)]);
    }

    /// <summary>Values that a reader takes one after another.</summary>
    public readonly ref struct Reads
    {
        private readonly BurstLink<T> _link;
        private readonly ReaderSide _read;
        private readonly Span<T> _places;

        public Reads(BurstLink<T> link, ReaderSide read, Span<T> places)
        {
            _link = link;
            _read = read;
            _places = places;
        }

        public int Count => _places.Length;

        /// <summary>The first one alone.</summary>
        public Reads First => new(_link, _read, _places[..1]);

        /// <summary>Takes the next value.</summary>
        /// <param name="index">Which one it is: the first one is 0.</param>
        /// <param name="item">The value.</param>
        /// <returns>False when the link was shut: nothing more is read.</returns>
        [MethodImpl(MethodImplOptions.AggressiveInlining)] // in loops, no call is left of it
        public bool TryTake(int index, out T item)
        {
            Debug.Assert(Unsafe.AreSame(ref _places[index], ref _read.Ring.PlacesFrom(_read.Position)[0]), "Something else was read meanwhile.");
            if (!_link.TryClaim(_read, _read.Position, 1))
            {
                item = default!;
                return false;
            }

            item = _places[index];
            if (RuntimeHelpers.IsReferenceOrContainsReferences<T>())
                _places[index] = default!;
            return true;
        }

        /// <summary>Gives the slot of one of them back.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)] // in loops, no call is left of it
        public void Release()
        {
            long released = _read.Released + 1;
            Volatile.Write(ref _read.Released, released);
            if (_link.IsWriterWaiting && released >= _read.WakeDue)
                _link.WakeWriterIfDue(released);
        }
    }

    /// <summary>Places for values that a writer hands over one after another.</summary>
    public readonly ref struct Writes
    {
        private readonly BurstLink<T> _link;
        private readonly WriterSide _write;
        private readonly Turn _turn;
        private readonly Span<T> _places;

        public Writes(BurstLink<T> link, WriterSide write, Turn turn, Span<T> places)
        {
            _link = link;
            _write = write;
            _turn = turn;
            _places = places;
        }

        public int Count => _places.Length;

        /// <summary>Hands the next value over.</summary>
        /// <param name="index">Which one it is: the first one is 0.</param>
        /// <param name="item">The value.</param>
        /// <returns>False when the link is shut or completed: nothing more is written.</returns>
        [MethodImpl(MethodImplOptions.AggressiveInlining)] // in loops, no call is left of it
        public bool TryPut(int index, T item)
        {
            long position = _write.Published;
            Debug.Assert(Unsafe.AreSame(ref _places[index], ref _write.Ring.PlacesFrom(position)[0]), "Something else was written meanwhile.");
            if (!_link.TryClaim(_write, position, 1, NoSlots))
                return false;
            _places[index] = item;
            _link.Show(_write, position + 1, _turn);
            return true;
        }
    }
}
