using CsCheck;
using Puma.Dataflow.Buffers;

namespace Puma.Dataflow.Tests.Buffers;

/// <summary>Runs random scripts against the fast link and the reference link side by side; after each step both must look the same.</summary>
public sealed class LinkModelTests
{
    private enum Step
    {
        Write,
        WriteOneByOne,
        WriteBurst,
        WriteInALoop,
        Reserve,
        WriteReserved,
        CancelReserve,
        Offer,
        Read,
        ReadOneByOne,
        ReadBurst,
        ReadInALoop,
        Release,
        ReleaseBurst,
        Discard,
        AskForSlot,
        Flush,
        Complete,
        Refuse,
        Shut,
    }

    private static readonly Gen<Step> GenStep = Gen.Frequency(
        (12, Gen.Const(Step.Write)),
        (4, Gen.Const(Step.WriteOneByOne)),
        (4, Gen.Const(Step.WriteBurst)),
        (4, Gen.Const(Step.WriteInALoop)),
        (3, Gen.Const(Step.Reserve)),
        (3, Gen.Const(Step.WriteReserved)),
        (1, Gen.Const(Step.CancelReserve)),
        (4, Gen.Const(Step.Offer)),
        (10, Gen.Const(Step.Read)),
        (3, Gen.Const(Step.ReadOneByOne)),
        (4, Gen.Const(Step.ReadBurst)),
        (4, Gen.Const(Step.ReadInALoop)),
        (14, Gen.Const(Step.Release)),
        (4, Gen.Const(Step.ReleaseBurst)),
        (2, Gen.Const(Step.Discard)),
        (2, Gen.Const(Step.AskForSlot)),
        (2, Gen.Const(Step.Flush)),
        (1, Gen.Frequency((4, Gen.Const(Step.Complete)), (1, Gen.Const(Step.Refuse)), (1, Gen.Const(Step.Shut)))));

    [Fact] // S34, S30: the capacities are such that the ring of the fast link grows, wraps and does both.
    public void RandomScripts_OnBothLinks_LookTheSame() =>
        Gen.Select(Gen.Int[0, 4].Select(static i => ((int[])[1, 2, 7, 33, 100])[i]), Gen.Bool, GenStep.List[1, 300])
            .Sample((capacity, dropsNewest, steps) => Run(capacity, dropsNewest ? FullMode.DropNewest : FullMode.Wait, steps), iter: 3_000, threads: 1);

    private static void Run(int capacity, FullMode fullMode, List<Step> steps)
    {
        Half reference = new((w, r, d) => new BufferBlockLink<string>("writer", "reader", capacity, w, r) { FullMode = fullMode, OnDiscarded = d });
        Half fast = new((w, r, d) => new BurstLink<string>("writer", "reader", capacity, w, r) { FullMode = fullMode, OnDiscarded = d });
        foreach (Step step in steps)
        {
            Assert.Equal(reference.Do(step), fast.Do(step));
            Assert.Equal(reference.Seen, fast.Seen);
        }
    }

    /// <summary>One of the two links, with a writer and a reader that keep to the rules.</summary>
    private sealed class Half
    {
        private readonly Link<string> _link;
        private readonly End _writer = new();
        private readonly End _reader = new();
        private readonly List<string> _told = [];
        private readonly Queue<string> _inWork = [];
        private int _next;
        private int _reserved;

        public Half(Func<ILinkEnd, ILinkEnd, Action<object?, DiscardReason>, Link<string>> create) =>
            _link = create(_writer, _reader, (item, reason) => _told.Add($"{item} {reason}"));

        /// <summary>All that can be seen from outside.</summary>
        public string Seen =>
            $"{_link.SlotsHeld} {_link.MaxSlotsHeld} {_link.Queued} {_link.IsShut} {_link.IsCompleted} {_link.End} {_link.Counts} {_writer.Closed} {string.Join(',', _told)}";

        /// <returns>What came of it.</returns>
        public string Do(Step step) => step switch
        {
            Step.Write => $"{_link.TryWrite(Next())}",
            Step.WriteOneByOne => $"{Enumerable.Range(0, 40).Count(_ => _link.TryWrite(Next()))}",
            Step.WriteBurst => $"{_link.WriteMany([.. Enumerable.Range(0, 40).Select(_ => Next())], turn: null)}",
            Step.WriteInALoop => WriteInALoop(),
            Step.Reserve => Reserve(),
            Step.WriteReserved => _reserved == 0 ? "" : $"{--_reserved} {_link.WriteReserved(Next())}",
            Step.CancelReserve => _reserved == 0 ? "" : CancelReserve(),
            Step.Offer => $"{_link.TryOffer(Next(), out bool hasDropped, out string? dropped)} {hasDropped} {dropped}",
            Step.Read => Read(),
            Step.ReadOneByOne => string.Join(',', Enumerable.Range(0, 40).Select(_ => Read())),
            Step.ReadBurst => ReadBurst(),
            Step.ReadInALoop => ReadInALoop(),
            Step.Release => Release(),
            Step.ReleaseBurst => ReleaseBurst(),
            Step.Discard => Discard(),
            Step.AskForSlot => Told(_link.AskForSlot),
            Step.Flush => Told(_link.Flush),
            Step.Complete => Told(() => _link.Complete(EndMarker.Completed)),
            Step.Refuse => Told(_link.Refuse),
            _ => Told(() => _link.Shut(DiscardReason.Canceled)),
        };

        private string Next() => $"{_next++}";

        private static string Told(Action action)
        {
            action();
            return "";
        }

        private string Reserve()
        {
            bool isReserved = _link.TryReserve();
            _reserved += isReserved ? 1 : 0;
            return $"{isReserved}";
        }

        private string CancelReserve()
        {
            _reserved--;
            _link.CancelReserve();
            return "";
        }

        private string Read()
        {
            // Who has shut the link reads no more.
            if (_link.IsShut || !_link.TryRead(out string item))
                return "-";
            _link.CountReceived();
            _inWork.Enqueue(item);
            return item;
        }

        private string ReadBurst()
        {
            if (_link.IsShut)
                return "-";
            string[] items = new string[40];
            int count = _link.ReadMany(items);
            _link.CountReceived(count);
            Array.ForEach(items[..count], _inWork.Enqueue);
            return string.Join(',', items[..count]);
        }

        /// <summary>Writes as the loops of stages do, where the link has something for them.</summary>
        private string WriteInALoop()
        {
            int written = 0, offered = 0;
            while (offered < 40)
            {
                BurstLink<string>.Writes to = _link is BurstLink<string> fast ? fast.BeginWrites(40 - offered, turn: null) : default;
                bool isTaken = to.Count > 0;
                for (int i = 0; i < to.Count && isTaken; i++)
                    Count(to.TryPut(i, Next()));
                if (to.Count == 0)
                    Count(_link.TryWrite(Next()));

                void Count(bool wasTaken)
                {
                    isTaken = wasTaken;
                    offered++;
                    written += wasTaken ? 1 : 0;
                }
            }

            return $"{written}";
        }

        /// <summary>Reads as they do, and gives each slot back.</summary>
        private string ReadInALoop()
        {
            if (_link.IsShut)
                return "-";
            List<string> taken = [];
            while (taken.Count < 40)
            {
                int before = taken.Count;
                if (_link is BurstLink<string> fast)
                {
                    BurstLink<string>.Reads from = fast.BeginReads(40 - before);
                    for (int i = 0; i < from.Count && from.TryTake(i, out string item); i++)
                    {
                        fast.CountReceived();
                        from.Release();
                        taken.Add(item);
                    }
                }
                else if (_link.TryRead(out string item))
                {
                    _link.CountReceived();
                    _link.Release(1);
                    taken.Add(item);
                }

                if (taken.Count == before)
                    break;
            }

            return string.Join(',', taken);
        }

        private string ReleaseBurst()
        {
            int count = _inWork.Count / 2;
            for (int i = 0; i < count; i++)
                _inWork.Dequeue();
            _link.Release(count);
            return $"{count}";
        }

        private string Release()
        {
            if (!_inWork.TryDequeue(out string? item))
                return "-";
            _link.Release(1);
            return item;
        }

        private string Discard()
        {
            if (_link.IsShut || !_link.TryRead(out string item))
                return "-";
            _link.Discard(item, DiscardReason.NoDemand);
            return item;
        }

        private sealed class End : ILinkEnd
        {
            public int Closed { get; private set; }

            public void Wake() { }

            public void OnReaderClosed() => Closed++;
        }
    }
}
