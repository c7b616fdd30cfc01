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
    /// <returns>None when nothing is there, or the link was shut.</returns>
    public Reads BeginReads(long most)
    {
        Debug.Assert(most > 0, "Who reads nothing need not begin.");
        ReaderSide read = _read;
        long position = read.Position;

        // Who has shut the link gets what is there: without the look at that, a loop would begin again and again with what it cannot take.
        if ((position == read.PublishedSeen && !TryTakeBurst(position)) || IsShutting)
            return default;
        if (read.Released >= read.Looks.Due)
            read.Looks.Look(Reader, read.Released);
        return new Reads(this, Readable(read, position, Math.Min(most, read.Looks.Due - read.Released)));
    }

    /// <summary>Begins to write values for which there are slots, and places that lie together. Writer only, which writes nothing in another way until it has done with these.</summary>
    /// <param name="most">No more than so many; at least 1.</param>
    /// <param name="turn"><see cref="Turn.Here"/>.</param>
    /// <returns>None when this side knows of no slot or no place: a single <see cref="TryWrite(T, Turn)"/> looks further, and makes room.</returns>
    public Writes BeginWrites(long most, Turn? turn)
    {
        Debug.Assert(most > 0, "Who writes nothing need not begin.");
        WriterSide write = _write;
        long position = write.Published;
        if (position >= write.RoomSeen)
        {
            SeeReleased(write);
            write.WorkOutRoom();
            if (position >= write.RoomSeen)
                return default;
        }

        if (position >= write.Looks.Due)
            write.Looks.Look(Writer, position);
        Span<T> places = write.Ring.PlacesFrom(position);
        long count = Math.Min(Math.Min(write.RoomSeen, write.Looks.Due) - position, Math.Min(most, places.Length));
        return new Writes(this, turn ?? Turn.None, places[..(int)count]);
    }

    /// <summary>Values that a reader takes one after another.</summary>
    public readonly ref struct Reads(BurstLink<T> link, Span<T> places)
    {
        private readonly BurstLink<T> _link = link;
        private readonly ReaderSide _read = link._read;
        private readonly Span<T> _places = places;

        public int Count => _places.Length;

        /// <summary>The first one alone.</summary>
        public Reads First => new(_link, _places[..1]);

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
        public void Release() => _link.GiveBack(_read, 1);
    }

    /// <summary>Places for values that a writer hands over one after another.</summary>
    public readonly ref struct Writes(BurstLink<T> link, Turn turn, Span<T> places)
    {
        private readonly BurstLink<T> _link = link;
        private readonly WriterSide _write = link._write;
        private readonly Turn _turn = turn;
        private readonly Span<T> _places = places;

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
