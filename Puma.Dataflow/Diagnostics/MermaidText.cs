using System.Globalization;
using System.Text;

namespace Puma.Dataflow.Diagnostics;

/// <summary>Writes a picture as a Mermaid flowchart.</summary>
internal static class MermaidText
{
    public static string Of(GraphDrawing drawing)
    {
        var text = new StringBuilder("flowchart LR\n");
        foreach (DrawnStage stage in drawing.Stages)
        {
            (string open, string close) = stage.IsElsewhere ? ("[[", "]]") : drawing.IsOuter(stage) ? ("([", "])") : ("[", "]");
            text.Append(CultureInfo.InvariantCulture, $"    {drawing.IdOf(stage.Name)}{open}\"{string.Join("<br>", stage.Lines.Select(Escape))}\"{close}\n");
        }

        foreach (DrawnLink link in drawing.Links)
            text.Append(CultureInfo.InvariantCulture, $"    {drawing.IdOf(link.From)} {(link.IsDashed ? "-.->" : "-->")}|\"{Escape(link.Label)}\"| {drawing.IdOf(link.To)}\n");

        foreach (IGrouping<StageLook, DrawnStage> same in drawing.Stages.Where(static s => s.Look != StageLook.Plain).GroupBy(static s => s.Look))
        {
            string name = $"is{same.Key}";
            text.Append(CultureInfo.InvariantCulture, $"    classDef {name} fill:{StageColors.Of(same.Key)},color:#000000\n");
            text.Append(CultureInfo.InvariantCulture, $"    class {string.Join(',', same.Select(s => drawing.IdOf(s.Name)))} {name}\n");
        }

        return text.ToString();
    }

    /// <summary>
    /// Names are in quotes and never are identifiers, so no keyword is in the way. Everything that Mermaid or the Markdown inside of its labels could take
    /// for its own is written as a character code; a line break ends a line of the label.
    /// </summary>
    private static string Escape(string name)
    {
        var text = new StringBuilder(name.Length);
        string line = name.ReplaceLineEndings("\n");
        for (int i = 0; i < line.Length; i++)
        {
            char c = line[i];
            bool isMarker = c is '.' or '-' or '+' or ')' && (i + 1 == line.Length || char.IsWhiteSpace(line[i + 1]));
            if (c == '\n')
                text.Append("<br>");
            else if (char.IsLetterOrDigit(c) || char.IsSurrogate(c) || (c is ' ' or ',' or '/' or ':' or '=' or '×' or '(' or ')' or '.' or '-' or '+' && !isMarker))
                text.Append(c);
            else if (!char.IsControl(c))
                text.Append(CultureInfo.InvariantCulture, $"#{(int)c};");
        }

        return text.ToString();
    }
}
