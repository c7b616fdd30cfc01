using Puma.Dataflow;

namespace Snippets;

internal static class WorkersSnippets
{
    public static async Task RunAsync(string folder, CancellationToken cancellationToken)
    {
        {
            #region readme-workers
            await using var workers = Workers.Create(new() { Count = 4, Placement = Placement.ChildProcess }, cancellationToken);
            int words = await workers.SubmitAsync(static (text, _) => text.Split(' ').Length, "one two three", cancellationToken);
            #endregion
            Check.That(words == 3);
        }

        {
            #region workers-create
            await using var workers = Workers.Create(new()
            {
                Name = "parsers",
                Count = 4,
                BoundedCapacity = 256,
                Placement = Placement.ChildProcess with { MemoryLimit = 512 * 1024 * 1024 },
                JobTimeout = TimeSpan.FromMinutes(1),
            }, cancellationToken);
            #endregion
            string[] paths = Directory.GetFiles(folder);

            #region workers-submit
            long length = await workers.SubmitAsync(static (path, _) => new FileInfo(path).Length, paths[0], cancellationToken);
            string text = await workers.SubmitAsync(static (path, ct) => File.ReadAllTextAsync(path, ct), paths[0], cancellationToken);
            await workers.SubmitAsync(static (copy, _) => File.Copy(copy.From, copy.To), (From: paths[0], To: paths[0] + ".copy"), cancellationToken);
            #endregion
            Check.That(length > 0 && text.Length > 0);
            File.Delete(paths[0] + ".copy");

            #region workers-map
            await foreach (int words in workers.MapAsync(static async (path, ct) => (await File.ReadAllTextAsync(path, ct)).Split(' ').Length, paths, cancellationToken))
                Console.WriteLine(words); // in the order of the paths
            #endregion

            #region workers-failure
            try
            {
                await workers.SubmitAsync(static (digits, _) => int.Parse(digits), "12x", cancellationToken);
            }
            catch (JobFailedException failure) when (failure.IsCausedBy<FormatException>())
            {
                Console.WriteLine(failure.Message); // Job 7 of 'parsers' failed in process 4711. FormatException: ...
            }
            #endregion

            #region workers-complete
            await workers.CompleteAsync(); // takes no more jobs, and does those that were submitted
            WorkersSnapshot end = workers.Snapshot();
            Console.WriteLine($"{end.Succeeded} done, {end.Failed} failed, {end.Canceled} cancelled, {end.Restarts} workers replaced");
            #endregion
            Check.That(end.Failed == 1);
        }

        {
            #region workers-replay
            await using var workers = Workers.Create(new() { Placement = Placement.ChildProcess, OnLoss = LossPolicy.Restart().Replay() }, cancellationToken);
            #endregion
        }
    }
}
