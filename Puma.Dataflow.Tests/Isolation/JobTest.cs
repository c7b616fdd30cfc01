using System.Globalization;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Where the workers of a test live.</summary>
public enum Home
{
    InProcess,
    Loopback,
    ChildProcess,
}

/// <summary>Where a job and its test meet, whatever process the job runs in: files that one writes and the other waits for.</summary>
public sealed record Meeting(string Folder, int Number)
{
    private string File(string what) => Path.Combine(Folder, $"{Number}.{what}");

    public bool HasBegun => System.IO.File.Exists(File("begun"));

    /// <summary>The process in which it has begun.</summary>
    public int Process => int.Parse(System.IO.File.ReadAllText(File("begun")), CultureInfo.InvariantCulture);

    public bool WasCanceled => System.IO.File.Exists(File("canceled"));

    public Task UntilBegunAsync() => Waiting.UntilAsync(() => HasBegun && System.IO.File.ReadAllText(File("begun")).Length > 0, $"job {Number} has begun");

    public void Begin() => System.IO.File.WriteAllText(File("begun"), $"{Environment.ProcessId}");

    public void LetGo() => System.IO.File.WriteAllText(File("go"), "");

    /// <summary>A job: tells that it has begun, and returns its number when it may.</summary>
    public static async Task<int> HoldAsync(Meeting meeting, CancellationToken cancellationToken)
    {
        meeting.Begin();
        try
        {
            while (!System.IO.File.Exists(meeting.File("go")))
                await Task.Delay(5, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            await System.IO.File.WriteAllTextAsync(meeting.File("canceled"), "", CancellationToken.None);
            throw;
        }

        return meeting.Number;
    }
}

/// <summary>The base of tests of workers. After each one the account of every job balances.</summary>
public abstract class JobTest : ChildTest
{
    private readonly List<Workers> _workers = [];
    private readonly string _folder = Directory.CreateTempSubdirectory("jobs-").FullName;

    public static TheoryData<Home> Homes => [.. Enum.GetValues<Home>()];

    public static TheoryData<Home> HomesElsewhere => [Home.Loopback, Home.ChildProcess];

    protected static Placement PlacementOf(Home home) => home switch
    {
        Home.InProcess => Placement.InProcess,
        Home.Loopback => Placement.Loopback,
        _ => Placement.ChildProcess,
    };

    protected Workers Make(Home home, WorkersOptions options, CancellationToken cancellationToken = default)
    {
        var workers = Workers.Create(options with { Placement = options.Placement == Placement.InProcess ? PlacementOf(home) : options.Placement, LoggerFactory = Log }, cancellationToken);
        _workers.Add(workers);
        return workers;
    }

    protected Meeting Meet(int number) => new(_folder, number);

    public override async ValueTask DisposeAsync()
    {
        foreach (Workers workers in _workers)
        {
            await workers.DisposeAsync().AsTask().Within();
            PipelineReport report = await workers.Report.Within();
            report.AssertConserved();
            WorkersSnapshot end = workers.Snapshot();
            Assert.Equal((0, 0, 0), (end.Waiting, end.Queued, end.Running));
        }

        Directory.Delete(_folder, recursive: true);
        await base.DisposeAsync();
        GC.SuppressFinalize(this);
    }
}
