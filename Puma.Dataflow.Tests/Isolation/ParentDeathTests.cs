using System.Diagnostics;
using System.Globalization;
using Puma.Dataflow.Isolation.Launch;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>However a program ends, its children end too, with all that they started, and leave no file behind.</summary>
[Collection(ChildrenAlone.Name)]
public sealed class ParentDeathTests : IDisposable
{
    private readonly string _temporary = Directory.CreateTempSubdirectory("parent").FullName;

    public void Dispose() => Directory.Delete(_temporary, recursive: true);

    [Theory] // S39, Puma G18
    [InlineData(ParentEnd.Wait)]
    [InlineData(ParentEnd.FailFast)]
    [InlineData(ParentEnd.Exit)]
    [InlineData(ParentEnd.Return)]
    [InlineData(ParentEnd.ThreadEnds)]
    public async Task WhenTheParentIsGone_NoChildSurvives(ParentEnd end)
    {
        using Process parent = Process.Start(ParentProgram.Command(end, _temporary))!;
        List<int> family = [];
        try
        {
            string? line = await parent.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().Within();
            Assert.StartsWith("ready ", line, StringComparison.Ordinal);
            family.AddRange(line!.Split(' ')[1..].Select(static id => int.Parse(id, CultureInfo.InvariantCulture)));
            Assert.Equal(4, family.Count(IsAlive));

            if (end == ParentEnd.Wait)
                parent.Kill();
            else
                await parent.StandardInput.WriteLineAsync();
            await parent.WaitForExitAsync(TestContext.Current.CancellationToken).Within();

            await Waiting.UntilAsync(() => !family.Exists(IsAlive), () => $"no process of the family is left, but there are {string.Join(", ", family.Where(IsAlive))}");
            Assert.All(Directory.GetFileSystemEntries(_temporary), path => Assert.Contains($"-{parent.Id}-", Path.GetFileName(path), StringComparison.Ordinal));
        }
        finally
        {
            parent.Kill();
            foreach (int id in family.Where(IsAlive))
                Process.GetProcessById(id).Kill();
        }
    }

    [Fact] // S39: the names that its child has not used yet have nobody else to remove them
    public async Task WhenTheParentIsKilledWhileAChildStarts_NoFileIsLeft()
    {
        for (int round = 0; round < 5; round++)
        {
            using Process parent = Process.Start(ParentProgram.Command(ParentEnd.Wait, _temporary))!;
            string mark = $"-{parent.Id}-";
            await Waiting.UntilAsync(() => Directory.GetFiles(_temporary, "dotnet-diagnostic-*").Any(path => !path.Contains(mark, StringComparison.Ordinal)), "the runtime of a child has started");

            parent.Kill();
            await parent.WaitForExitAsync(TestContext.Current.CancellationToken).Within();

            await Waiting.UntilAsync(() => Left(mark).Length == 0, () => $"nothing is left, but there are {string.Join(", ", Left(mark))}");
            foreach (string path in Directory.GetFiles(_temporary))
                File.Delete(path);
        }

        string[] Left(string mark) => [.. Directory.GetFileSystemEntries(_temporary).Where(path => !path.Contains(mark, StringComparison.Ordinal))];
    }

    [Fact] // S39: the connections of a child may end before its lifeline does, and it in good order before its parent's death is noticed
    public async Task AChildThatEndsInGoodOrder_EndsWhatItStarted_AndIsSparedItself()
    {
        using Process leader = Process.Start(ParentProgram.Command(ParentEnd.Group, _temporary))!;
        string? line = await leader.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().Within();
        int sleeper = int.Parse(line!.Split(' ')[^1], CultureInfo.InvariantCulture);
        Assert.True(IsAlive(sleeper));

        await leader.StandardInput.WriteLineAsync();
        Assert.Equal("still here", await leader.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().Within());
        await leader.WaitForExitAsync(TestContext.Current.CancellationToken).Within();

        Assert.Equal(3, leader.ExitCode);
        await Waiting.UntilAsync(() => !IsAlive(sleeper), "what it had started is gone");
    }

    [Fact] // S39
    public void AnEnd_WaitsNeitherForWhatNeverReturns_NorForWhatThrows()
    {
        using var never = new ManualResetEventSlim();
        ChildMain.Attempt(never.Wait, TimeSpan.FromMilliseconds(1));
        ChildMain.Attempt(static () => throw new InvalidOperationException("no such file"), Waiting.Limit);
        bool hasRun = false;
        ChildMain.Attempt(() => hasRun = true, Waiting.Limit);

        Assert.True(hasRun);
        never.Set();
    }

    /// <summary>Whether a process is there and no zombie.</summary>
    private static bool IsAlive(int id)
    {
        try
        {
            return !File.ReadAllText($"/proc/{id}/stat").Contains(") Z ", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }
}
