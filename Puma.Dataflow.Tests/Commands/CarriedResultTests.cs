using System.Runtime.CompilerServices;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

public interface IArchive
{
    ValueTask<Witness> WitnessAsync();

    IAsyncEnumerable<Witness> WitnessesAsync(CancellationToken cancellationToken = default);

    ValueTask ThrowCodecFailureAsync();
}

/// <summary>Says which thread has read it, which is the one that encodes it.</summary>
public sealed class Witness
{
    private string? _thread;

    public string? Thread
    {
        get => _thread ?? System.Threading.Thread.CurrentThread.Name;
        set => _thread = value;
    }
}

/// <summary>What a member returns is carried as it was when the member ended.</summary>
public sealed class CarriedResultTests : ChildTest
{
    private const string Name = "archive";

    public static TheoryData<string> Isolated => ["loopback", "child process"];

    private PipelineRun<int> StartArchive(string place) => Start(
        Pipeline.Accept<int>().Then(static () => new Archive(), Placed.At(place, Name) with { OwnThread = true }).ForEach(static _ => { }));

    private static async Task EndAsync(PipelineRun<int> run)
    {
        run.Complete();
        await run.Completion.Within();
    }

    [Theory, MemberData(nameof(Isolated))] // S41
    public async Task AResult_IsEncodedWhereItsMemberRan(string place)
    {
        PipelineRun<int> run = StartArchive(place);

        Assert.Equal(Name, (await run.Control<IArchive>(Name).WitnessAsync().AsTask().Within()).Thread);

        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Isolated))] // S41
    public async Task AValueOfAStream_IsEncodedWhereTheStreamRuns_AlsoBehindAWait(string place)
    {
        PipelineRun<int> run = StartArchive(place);

        List<Witness> seen = await run.Control<IArchive>(Name).WitnessesAsync(TestToken).ToListAsync(TestToken).AsTask().Within();

        Assert.Equal([Name, Name], seen.Select(static w => w.Thread));
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(All))] // S42
    public async Task AMemberThatThrowsWhatTheCodecThrows_Threw(string place)
    {
        PipelineRun<int> run = StartArchive(place);

        CommandFailedException failure = await Assert.ThrowsAsync<CommandFailedException>(() => run.Control<IArchive>(Name).ThrowCodecFailureAsync().AsTask().Within());

        Assert.Equal(CommandFailure.Threw, failure.Failure);
        await EndAsync(run);
    }

    public static TheoryData<string> All => Placed.All;

    private sealed class Archive : Runnable<int, int>, IArchive
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);

        public ValueTask<Witness> WitnessAsync() => new(new Witness());

        public async IAsyncEnumerable<Witness> WitnessesAsync([EnumeratorCancellation] CancellationToken cancellationToken)
        {
            yield return new Witness();
            await Task.Yield();
            cancellationToken.ThrowIfCancellationRequested();
            yield return new Witness();
        }

        public ValueTask ThrowCodecFailureAsync() => throw new ItemCodecException(typeof(int), null, "of a codec of its own");
    }
}
