using System.Globalization;
using System.Text;

namespace Puma.Dataflow.Diagnostics;

/// <summary>Writes a picture in the DOT language of Graphviz.</summary>
internal static class DotText
{
    public static string Of(GraphDrawing drawing)
    {
        var text = new StringBuilder("digraph pipeline {\n    rankdir=LR;\n    node [shape=box];\n");
        for (int i = 0; i < drawing.Stages.Count; i++)
        {
            DrawnStage stage = drawing.Stages[i];
            string shape = stage.IsElsewhere ? ", peripheries=2" : drawing.IsOuter(stage) ? ", shape=oval" : "";
            string color = stage.Look == StageLook.Plain ? "" : $", style=filled, fillcolor=\"{StageColors.Of(stage.Look)}\"";
            text.Append(CultureInfo.InvariantCulture, $"    s{i} [label={Quote(string.Join('\n', stage.Details.Prepend(stage.Name)))}{shape}{color}];\n");
        }

        foreach (DrawnLink link in drawing.Links)
            text.Append(CultureInfo.InvariantCulture, $"    s{drawing.Numbers[link.From]} -> s{drawing.Numbers[link.To]} [label={Quote(link.Label)}{(link.IsDashed ? ", style=dashed" : "")}];\n");
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
