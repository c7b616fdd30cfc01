using Snippets;

// Runs every snippet of the documentation. A snippet that fails ends the program with an exception.
string folder = Directory.CreateTempSubdirectory("snippets-").FullName;
try
{
    await File.WriteAllTextAsync(Path.Combine(folder, "a.txt"), "one two");
    await File.WriteAllTextAsync(Path.Combine(folder, "b.txt"), "three");
    await ReadmeSnippets.RunAsync(folder, CancellationToken.None);
    await GettingStartedSnippets.RunAsync(CancellationToken.None);
    await StageSnippets.RunAsync(folder, CancellationToken.None);
    await OtherSnippets.RunAsync();
    await StatusSnippets.RunAsync();
    await ControlSnippets.RunAsync();
    LoggingSnippets.Run();
    await MonitoringSnippets.RunAsync();
    await WorkersSnippets.RunAsync(folder, CancellationToken.None);
    await FromPumaSnippets.RunAsync(CancellationToken.None);
    await IsolationSnippets.RunAsync(); // last: from its call of RunIfChild on, children are started that way
}
finally
{
    Directory.Delete(folder, recursive: true);
}

Console.WriteLine("All snippets ran.");
