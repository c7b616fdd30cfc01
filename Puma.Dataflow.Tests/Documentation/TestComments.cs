using System.Text.RegularExpressions;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>What the tests say of themselves: the comments on the lines of their attributes, which cite rules and scenarios.</summary>
internal static partial class TestComments
{
    /// <summary>Each test, as <c>Class.Method</c>, with its comment.</summary>
    public static IReadOnlyList<(string Test, string Comment)> All { get; } = [.. Find()];

    private static IEnumerable<(string Test, string Comment)> Find()
    {
        foreach (string path in Repository.Sources("Puma.Dataflow.Tests"))
        {
            string type = "";
            List<string> comments = [];
            foreach (string line in Repository.ReadLines(path))
            {
                if (AttributeComment().Match(line) is { Success: true } comment)
                {
                    comments.Add(comment.Groups[1].Value);
                }
                else if (TypeLine().Match(line) is { Success: true } declaration)
                {
                    (type, comments) = (declaration.Groups[1].Value, []);
                }
                else if (MethodLine().Match(line) is { Success: true } method)
                {
                    if (comments.Count > 0)
                        yield return ($"{type}.{method.Groups[1].Value}", string.Join(' ', comments));
                    comments = [];
                }
            }
        }
    }

    [GeneratedRegex(@"^\s*\[.*\]\s*//(.*)$")]
    private static partial Regex AttributeComment();

    [GeneratedRegex(@"^\s*(?:public|internal|private)[\w ]* class (\w+)")]
    private static partial Regex TypeLine();

    [GeneratedRegex(@"^\s*public [\w<>\[\], ]*?(\w+)\(")]
    private static partial Regex MethodLine();
}
