using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Puma.Dataflow.Benchmarks;

/// <summary>
/// Kills children of this process at random moments, and knows from the system alone which ones there were, which are left and which are
/// zombies. Linux only: it reads proc(5).
/// </summary>
internal sealed class ChaosMonkey(TimeSpan killEvery, TimeSpan killFor, string mark)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(2);

    private readonly HashSet<int> _seen = [];
    private readonly Random _random = new(1);

    public int Kills { get; private set; }

    /// <summary>How many children there ever were.</summary>
    public int Seen => _seen.Count;

    /// <summary>Watches until it is told to stop, and kills as long as it may; what is left then must still end by itself. A thread of its own, so that a busy pool does not hide a short life.</summary>
    public Task RunAsync(CancellationToken stopToken) => Task.Factory.StartNew(() => Run(stopToken), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Run(CancellationToken stopToken)
    {
        long next = NextKill(), last = Stopwatch.GetTimestamp() + (long)(killFor.TotalSeconds * Stopwatch.Frequency);
        while (!stopToken.IsCancellationRequested)
        {
            List<int> living = [.. Children().Where(static c => !c.IsZombie).Select(static c => c.Id)];
            _seen.UnionWith(living);
            if (Stopwatch.GetTimestamp() is var now && now >= next && now < last && living.Count > 0)
            {
                Kill(living[_random.Next(living.Count)]);
                next = NextKill();
            }

            stopToken.WaitHandle.WaitOne(Look);
        }
    }

    /// <summary>Anything from nothing to twice the period, so that no rhythm protects anybody.</summary>
    private long NextKill() => Stopwatch.GetTimestamp() + (long)(2 * _random.NextDouble() * killEvery.TotalSeconds * Stopwatch.Frequency);

    private void Kill(int id)
    {
        try
        {
            using var child = Process.GetProcessById(id);
            child.Kill();
            Kills++;
        }
        catch (Exception error) when (error is ArgumentException or InvalidOperationException)
        {
            // It has ended by itself meanwhile.
        }
    }

    public static int Zombies() => Children().Count(static c => c.IsZombie);

    /// <summary>How many processes other than this one bear the mark in their environment.</summary>
    public int Orphans()
    {
        byte[] wanted = Encoding.UTF8.GetBytes(mark);
        int count = 0;
        foreach (string directory in Directory.GetDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory), CultureInfo.InvariantCulture, out int id) && id != Environment.ProcessId && Read(Path.Combine(directory, "environ")).AsSpan().IndexOf(wanted) >= 0)
                count++;
        }

        return count;
    }

    private static IEnumerable<(int Id, bool IsZombie)> Children()
    {
        foreach (string task in Directory.GetDirectories("/proc/self/task"))
        {
            foreach (string id in Encoding.UTF8.GetString(Read(Path.Combine(task, "children"))).Split(' ', StringSplitOptions.RemoveEmptyEntries))
                yield return (int.Parse(id, CultureInfo.InvariantCulture), Encoding.UTF8.GetString(Read($"/proc/{id}/stat")).Contains(") Z ", StringComparison.Ordinal));
        }
    }

    /// <summary>A file of a process that may be gone.</summary>
    private static byte[] Read(string path)
    {
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
