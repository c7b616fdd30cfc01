namespace Puma.Dataflow.Tests.Documentation;

/// <summary>The C# code of the documentation is code that is compiled and run.</summary>
public sealed class SnippetTests
{
    private const string Folder = "samples/Snippets";

    public static TheoryData<string> Pages => [.. Repository.Pages];

    [Theory]
    [MemberData(nameof(Pages))]
    public void EveryBlock_IsARegionOfTheSnippets(string page)
    {
        HashSet<string> regions = [.. Repository.Sources(Folder).SelectMany(static path => RegionsOf(path).Select(static r => r.Text))];
        foreach ((int line, string text) in BlocksOf(page))
            Assert.True(regions.Contains(text), $"{page}, line {line}: this block is no region of {Folder}:{Environment.NewLine}{text}");
    }

    [Fact]
    public void EveryRegion_IsShownOnAPage()
    {
        HashSet<string> blocks = [.. Repository.Pages.SelectMany(static page => BlocksOf(page).Select(static b => b.Text))];
        foreach (string path in Repository.Sources(Folder))
        {
            foreach ((string name, string text) in RegionsOf(path))
                Assert.True(blocks.Contains(text), $"{path}: region '{name}' is on no page.");
        }
    }

    private static IEnumerable<(int Line, string Text)> BlocksOf(string page)
    {
        List<string>? block = null;
        int start = 0, number = 0;
        foreach (string line in Repository.ReadLines(page))
        {
            number++;
            if (block is null && line.TrimStart() is "```csharp" or "```cs" or "```c#")
            {
                (block, start) = ([], number);
            }
            else if (block is not null && line.TrimStart() == "```")
            {
                yield return (start, Normalize(block));
                block = null;
            }
            else
            {
                block?.Add(line);
            }
        }

        Assert.True(block is null, $"{page}, line {start}: the block does not end.");
    }

    private static IEnumerable<(string Name, string Text)> RegionsOf(string path)
    {
        List<string>? region = null;
        string name = "";
        foreach (string line in Repository.ReadLines(path))
        {
            string trimmed = line.Trim();
            if (trimmed.StartsWith("#region ", StringComparison.Ordinal))
            {
                (region, name) = ([], trimmed["#region ".Length..]);
            }
            else if (trimmed == "#endregion" && region is not null)
            {
                yield return (name, Normalize(region));
                region = null;
            }
            else
            {
                region?.Add(line);
            }
        }
    }

    /// <summary>Without the indentation that all lines have, and without white space at line ends.</summary>
    private static string Normalize(List<string> lines)
    {
        int indentation = lines.Where(static l => l.Trim().Length > 0).Select(static l => l.Length - l.TrimStart().Length).DefaultIfEmpty().Min();
        return string.Join('\n', lines.Select(l => l.Length < indentation ? "" : l[indentation..].TrimEnd())).Trim('\n');
    }
}
