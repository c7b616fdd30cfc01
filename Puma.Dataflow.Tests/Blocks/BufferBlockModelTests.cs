using System.Globalization;
using System.Threading.Tasks.Dataflow;
using CsCheck;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Blocks;

/// <summary>
/// Runs random scripts against a <see cref="BufferBlock{T}"/> and against a pipeline's entry and exit side by side. After each step both come
/// to rest and must look the same from outside, but for the four deviations of S45.
/// </summary>
public sealed class BufferBlockModelTests
{
    private const int Sources = 3;
    private const int Targets = 3;

    // Short, because the search for the shortest failing script runs into it again and again.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    private static readonly Gen<Step> GenStep = Gen.Frequency(
        (6, Gen.Select(Gen.Int[0, Sources - 1], Gen.Bool, static (s, b) => (Step)new Offer(s, b))),
        (2, Gen.Const((Step)new OfferWithoutSource())),
        (4, Gen.Const((Step)new Post())),
        (4, Gen.Const((Step)new Send())),
        (1, Gen.Int[0, Sources - 1].Select(static s => (Step)new TakeBack(s))),
        (3, Gen.Int[0, Targets - 1].Select(static t => (Step)new Reserve(t))),
        (4, Gen.Int[0, Targets - 1].Select(static t => (Step)new Consume(t))),
        (3, Gen.Int[0, Targets - 1].Select(static t => (Step)new Release(t))),
        (3, Gen.Bool.Select(static f => (Step)new Receive(f))),
        (1, Gen.Const((Step)new ReceiveAll())),
        (4, Gen.Select(Gen.Int[0, Targets - 1], Gen.Int[0, 2], static (t, a) => (Step)new SetAnswer(t, a switch { 0 => Answer.Accept, 1 => Answer.Decline, _ => Answer.Postpone }))),
        (4, Gen.Select(Gen.Int[0, Targets - 1], Gen.Bool, Gen.Int[-1, 3], Gen.Bool, Gen.Bool, static (t, p, m, a, f) => (Step)new Link(t, p, m == 0 ? -1 : m, a, f))),
        (2, Gen.Int[0, Targets - 1].Select(static t => (Step)new Unlink(t))),
        (1, Gen.Bool.Select(static c => c ? (Step)new CompleteBlock() : new FaultBlock())));

    private static readonly Gen<Script> GenScript =
        Gen.Select(Gen.Int[1, 4], GenStep.List[1, 40], static (capacity, steps) => new Script(capacity, steps));

    [Fact] // S45, S34
    public Task RandomScripts_OnABlockOfEntryAndExit_LookLikeABufferBlock() =>
        GenScript.SampleAsync(static script => RunAsync(script, static (capacity, options) =>
            Pipeline.Accept<int>(new() { BoundedCapacity = capacity }).AsBlock(options)), iter: 3_000, threads: 1, print: static s => s.ToString());

    [Fact] // S45: with a stage in between there is more room, so nothing is ever full here.
    public Task RandomScripts_OnABlockWithAStage_LookLikeABufferBlock() =>
        GenScript.SampleAsync(static script => RunAsync(script with { Capacity = 100 }, static (capacity, options) =>
            Pipeline.Accept<int>(new() { BoundedCapacity = capacity }).Transform(static x => x).AsBlock(options)), iter: 3_000, threads: 1, print: static s => s.ToString());

    private static async Task RunAsync(Script script, Func<int, PipelineOptions, IPropagatorBlock<int, int>> makeOurs)
    {
        var scheduler = new CountingScheduler();
        var theirs = new World(new BufferBlock<int>(new() { BoundedCapacity = script.Capacity, TaskScheduler = scheduler }));
        var ours = new World(makeOurs(script.Capacity, new PipelineOptions { LoggerFactory = new LogRecorder() }));
        int next = 0;
        bool hasFault = false, hasCompleted = false;
        for (int i = 0; i < script.Steps.Count; i++)
        {
            Step step = script.Steps[i];

            // A buffer block that was completed does not hear of a fault any more, a pipeline does until it has ended.
            if (step is FaultBlock && hasCompleted)
                continue;
            hasCompleted |= step is CompleteBlock;

            if (step is FaultBlock)
            {
                // Only the ends compare from here on: a faulted block drops what it holds at once, a pipeline follows its FaultMode.
                // A reservation keeps a buffer block from faulting; that is its own affair.
                theirs.ReleaseAll();
                ours.ReleaseAll();
                await SameStateAsync($"before step {i}, {step}");
                hasFault = true;
            }

            next++;
            string expected = theirs.Do(step, next), actual = ours.Do(step, next);
            Assert.True(expected == actual, $"Step {i}, {step}: expected '{expected}' but was '{actual}'.{Environment.NewLine}{script}");
            if (hasFault)
                break;
            await SameStateAsync($"after step {i}, {step}");
        }

        theirs.ReleaseAll();
        ours.ReleaseAll();
        if (!hasFault)
            await SameStateAsync("after all reservations were released");
        await ours.EndAsync();
        await theirs.EndAsync();
        await SameStateAsync("at the end");
        Assert.All(ours.Targets, static t => Assert.All(t.Sources, static s => Assert.IsNotType<ExitBlock<int>>(s)));

        Task SameStateAsync(string when) => Waiting.UntilAsync(
            () => scheduler.IsIdle && theirs.IsSettled && theirs.StateAfter(hasFault) == ours.StateAfter(hasFault),
            () => $"the same state {when}{Environment.NewLine}expected {theirs.StateAfter(hasFault)}{Environment.NewLine}but was  {ours.StateAfter(hasFault)}{Environment.NewLine}{script}",
            Limit);
    }

    /// <summary>A block with foreign code around it.</summary>
    private sealed class World
    {
        private readonly List<Task> _sends = [];
        private readonly List<bool?> _sendResults = [];
        private readonly IDisposable?[] _links = new IDisposable?[BufferBlockModelTests.Targets];
        private readonly List<int> _received = [];

        // Always the last of the linked targets once the block was asked to end, so that it is told last.
        private ScriptedTarget? _sentinel;
        private IDisposable? _sentinelLink;

        public World(IPropagatorBlock<int, int> block) => Block = block;

        public IPropagatorBlock<int, int> Block { get; }

        public ScriptedTarget[] Targets { get; } = [.. Enumerable.Range(0, BufferBlockModelTests.Targets).Select(static _ => new ScriptedTarget { Answer = Answer.Postpone })];

        private ScriptedSource[] SourceBlocks { get; } = [.. Enumerable.Range(0, Sources).Select(static _ => new ScriptedSource())];

        private IReceivableSourceBlock<int> Receivable => (IReceivableSourceBlock<int>)Block;

        public int Count => Block is BufferBlock<int> buffer ? buffer.Count : ((PipelineBlock<int, int>)Block).Count;

        /// <summary>Whether a block that was asked to end, and is empty, has ended and told so.</summary>
        public bool IsSettled => _sentinel is null || Count > 0 || (Block.Completion.IsCompleted && _sentinel.Completion.IsCompleted);

        public string StateAfter(bool hasFault)
        {
            string ends = Block.Completion.IsCompleted ? Block.Completion.IsFaulted ? ScriptedTarget.Describe(Block.Completion.Exception!) : Block.Completion.Status.ToString() : "running";
            string sends;
            lock (_sendResults)
                sends = string.Join(' ', _sendResults.Select(static r => r?.ToString() ?? "pending"));

            // S45, first deviation: what comes out before the fault is the pipeline's own affair.
            return hasFault
                ? $"{ends}; sends {sends}; {string.Join("; ", SourceBlocks.Select(static s => s.HasMessage))}"
                : string.Join(Environment.NewLine, [ends, $"{Count} queued", sends, .. Targets.Select(static t => t.State), .. SourceBlocks.Select(static s => s.State)]);
        }

        public string Do(Step step, int value)
        {
            switch (step)
            {
                case Offer offer:
                    return SourceBlocks[offer.Source].Offer(Block, value, offer.ConsumeToAccept).ToString();
                case OfferWithoutSource:
                    return Block.OfferMessage(new DataflowMessageHeader(1), value, null, false).ToString();
                case Post:
                    return Block.Post(value).ToString();
                case Send:
                    _sends.Add(SendAsync(value));
                    return "";
                case TakeBack takeBack:
                    SourceBlocks[takeBack.Source].TakeBack();
                    return "";
                case Reserve reserve:
                    return Targets[reserve.Target].Reserve();
                case Consume consume:
                    return Try(Targets[consume.Target].Consume);
                case Release release:
                    return Try(Targets[release.Target].Release);
                case Receive receive:
                    return Receivable.TryReceive(receive.OnlyEven ? static x => x % 2 == 0 : null, out int item) ? item.ToString(CultureInfo.InvariantCulture) : "none";
                case ReceiveAll:
                    return Receivable.TryReceiveAll(out IList<int>? items) ? string.Join(' ', items) : "none";
                case SetAnswer answer:
                    Targets[answer.Target].Answer = answer.Answer;
                    return "";
                case Link link:
                    var options = new DataflowLinkOptions { PropagateCompletion = link.PropagateCompletion, MaxMessages = link.MaxMessages, Append = link.Append };
                    _links[link.Target]?.Dispose();
                    _links[link.Target] = link.OnlyEven ? Block.LinkTo(Targets[link.Target], options, static x => x % 2 == 0) : Block.LinkTo(Targets[link.Target], options);
                    if (_sentinel is not null)
                        LinkSentinel();
                    return "";
                case Unlink unlink:
                    _links[unlink.Target]?.Dispose();
                    return "";
                case CompleteBlock:
                    LinkSentinel();
                    Block.Complete();
                    return "";
                case FaultBlock:
                    LinkSentinel();
                    Block.Fault(new FormatException("scripted"));
                    return "";
                default:
                    throw new InvalidOperationException(step.ToString());
            }
        }

        private void LinkSentinel()
        {
            _sentinelLink?.Dispose();
            _sentinel = new ScriptedTarget { Answer = Answer.Decline };
            _sentinelLink = Block.LinkTo(_sentinel, new DataflowLinkOptions { PropagateCompletion = true });
        }

        public void ReleaseAll()
        {
            foreach (ScriptedTarget target in Targets)
                target.Release();
        }

        /// <summary>Takes everything out and ends.</summary>
        public async Task EndAsync()
        {
            foreach (IDisposable? link in _links)
                link?.Dispose();
            foreach (ScriptedSource source in SourceBlocks)
                source.TakeBack();
            Block.Complete();
            await Waiting.UntilAsync(() =>
            {
                while (Receivable.TryReceive(out int item))
                    _received.Add(item);
                return Block.Completion.IsCompleted && _sends.TrueForAll(static s => s.IsCompleted);
            }, () => $"the end of the block, {StateAfter(false)}", Limit);
        }

        private async Task SendAsync(int value)
        {
            int number;
            lock (_sendResults)
            {
                number = _sendResults.Count;
                _sendResults.Add(null);
            }

            bool isAccepted = await Block.SendAsync(value).ConfigureAwait(false);
            lock (_sendResults)
                _sendResults[number] = isAccepted;
        }

        private static string Try(Func<string> action)
        {
            try
            {
                return action();
            }
            catch (InvalidOperationException)
            {
                return "invalid";
            }
        }
    }

    /// <summary>The thread pool, but it can be seen when nothing runs any more.</summary>
    private sealed class CountingScheduler : TaskScheduler
    {
        private int _running;

        public bool IsIdle => Volatile.Read(ref _running) == 0;

        protected override void QueueTask(Task task)
        {
            Interlocked.Increment(ref _running);
            ThreadPool.UnsafeQueueUserWorkItem(state =>
            {
                TryExecuteTask(state);
                Interlocked.Decrement(ref _running);
            }, task, preferLocal: false);
        }

        protected override bool TryExecuteTaskInline(Task task, bool taskWasPreviouslyQueued) => false;

        protected override IEnumerable<Task> GetScheduledTasks() => [];
    }

    private sealed record Script(int Capacity, List<Step> Steps)
    {
        public override string ToString() => $"Capacity {Capacity}: {string.Join("; ", Steps)}";
    }

    private abstract record Step;

    private sealed record Offer(int Source, bool ConsumeToAccept) : Step;

    private sealed record OfferWithoutSource : Step;

    private sealed record Post : Step;

    private sealed record Send : Step;

    private sealed record TakeBack(int Source) : Step;

    private sealed record Reserve(int Target) : Step;

    private sealed record Consume(int Target) : Step;

    private sealed record Release(int Target) : Step;

    private sealed record Receive(bool OnlyEven) : Step;

    private sealed record ReceiveAll : Step;

    private sealed record SetAnswer(int Target, Answer Answer) : Step;

    private sealed record Link(int Target, bool PropagateCompletion, int MaxMessages, bool Append, bool OnlyEven) : Step;

    private sealed record Unlink(int Target) : Step;

    private sealed record CompleteBlock : Step;

    private sealed record FaultBlock : Step;
}
