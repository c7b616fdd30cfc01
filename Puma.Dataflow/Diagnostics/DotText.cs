using System.Globalization;
using System.Text;

namespace Puma.Dataflow.Diagnostics;

/// <summary>Writes a picture in the DOT language of Graphviz.</summary>
internal static class DotText
{
    public static string Of(GraphDrawing drawing)
    {
        var text = new StringBuilder("digraph pipeline {\n    rankdir=LR;\n    node [shape=box];\n");
        foreach (DrawnStage stage in drawing.Stages)
        {
            string shape = stage.IsElsewhere ? ", peripheries=2" : drawing.IsOuter(stage) ? ", shape=oval" : "";
            string color = stage.Look == StageLook.Plain ? "" : $", style=filled, fillcolor=\"{StageColors.Of(stage.Look)}\"";
            text.Append(CultureInfo.InvariantCulture, $"    {drawing.IdOf(stage.Name)} [label={Quote(string.Join('\n', stage.Lines))}{shape}{color}];\n");
        }

        foreach (DrawnLink link in drawing.Links)
            text.Append(CultureInfo.InvariantCulture, $"    {drawing.IdOf(link.From)} -> {drawing.IdOf(link.To)} [label={Quote(link.Label)}{(link.IsDashed ? ", style=dashed" : "")}];\n");
        return text.Append("}\n").ToString();
    }

    private static string Quote(string label)
    {
        var text = new StringBuilder("\"", label.Length + 2);
        foreach (char c in label.ReplaceLineEndings("\n"))
        {
            if (c is '"' or '\\')
                text.Append('\\').Append(c);
            else if (c == '\n')
                text.Append("\\n");
            else if (c == '&')
                text.Append("&amp;");
            else if (!char.IsControl(c))
                text.Append(c);
        }

        return text.Append('"').ToString();
    }
}
