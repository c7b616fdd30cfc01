using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using NLog;
using NLog.Config;
using NLog.LayoutRenderers;
using NLog.Layouts;
using NLog.Targets;

namespace Puma.Dataflow.Logging;

/// <summary>
/// Lets <c>${processid}</c>, <c>${threadid}</c> and <c>${threadname}</c> of NLog show the child's for what a child has logged. Layouts
/// that were parsed before are parsed anew.
/// </summary>
internal static class ForwardedRenderers
{
    private const string ProcessId = "processid", ThreadId = "threadid", ThreadName = "threadname";

    private static readonly string[] Names = [ProcessId, ThreadId, ThreadName];

    private static readonly Lazy<bool> Registered = new(static () =>
    {
        LogManager.Setup().SetupExtensions(static e => e
            .RegisterLayoutRenderer<ProcessIdRenderer>(ProcessId)
            .RegisterLayoutRenderer<ThreadIdRenderer>(ThreadId)
            .RegisterLayoutRenderer<ThreadNameRenderer>(ThreadName));
        return true;
    });

    /// <summary>Layouts that are parsed from now on need not be parsed anew.</summary>
    public static void Register() => _ = Registered.Value;

    /// <summary>To be called before something is forwarded to a configuration.</summary>
    public static void Adopt(LoggingConfiguration configuration)
    {
        Register();
        bool isRenewed = false;
        RewriteAll(configuration, layout =>
        {
            // By its text: what is fixed for a process has become text in a layout that was parsed before.
            if (!Array.Exists(Names, name => layout.Text.Contains("${" + name, StringComparison.OrdinalIgnoreCase)))
                return layout;
            isRenewed = true;
            return new SimpleLayout(layout.Text);
        });

        // Targets must know what their new layouts need.
        if (isRenewed)
            LogManager.ReconfigExistingLoggers();
    }

    /// <summary>Whether a layout of a configuration shows the place in the code.</summary>
    public static bool WantCallSite(LoggingConfiguration configuration)
    {
        bool isWanted = false;
        RewriteAll(configuration, layout =>
        {
            isWanted |= layout.Text.Contains("${callsite", StringComparison.OrdinalIgnoreCase);
            return layout;
        });
        return isWanted;
    }

    private static void RewriteAll(LoggingConfiguration configuration, Func<SimpleLayout, SimpleLayout> rewrite)
    {
        foreach (TargetWithLayout target in configuration.AllTargets.OfType<TargetWithLayout>())
            Rewrite(target.Layout, layout => target.Layout = layout, rewrite);
        foreach ((string name, Layout value) in configuration.Variables.ToArray())
            Rewrite(value, layout => configuration.Variables[name] = layout, rewrite);
    }

    /// <summary>Puts something in the place of each text layout.</summary>
    private static void Rewrite(Layout? layout, Action<Layout> replace, Func<SimpleLayout, SimpleLayout> rewrite)
    {
        switch (layout)
        {
            case SimpleLayout simple when rewrite(simple) is var rewritten && rewritten != simple:
                replace(rewritten);
                break;
            case CsvLayout csv:
                foreach (CsvColumn column in csv.Columns)
                    Rewrite(column.Layout, l => column.Layout = l, rewrite);
                break;
            case CompoundLayout compound:
                for (int i = 0; i < compound.Layouts.Count; i++)
                {
                    int index = i;
                    Rewrite(compound.Layouts[i], l => compound.Layouts[index] = l, rewrite);
                }

                break;
            case JsonLayout json:
                foreach (JsonAttribute attribute in json.Attributes)
                    Rewrite(attribute.Layout, l => attribute.Layout = l, rewrite);
                break;
        }
    }

    private sealed class ProcessIdRenderer : LayoutRenderer
    {
        protected override void Append(StringBuilder builder, LogEventInfo logEvent) =>
            builder.Append(CultureInfo.InvariantCulture, $"{(logEvent as ForwardedEvent)?.Record.ProcessId ?? Environment.ProcessId}");
    }

    private sealed class ThreadIdRenderer : LayoutRenderer
    {
        protected override void Append(StringBuilder builder, LogEventInfo logEvent) =>
            builder.Append(CultureInfo.InvariantCulture, $"{(logEvent as ForwardedEvent)?.Record.ThreadId ?? Environment.CurrentManagedThreadId}");
    }

    private sealed class ThreadNameRenderer : LayoutRenderer
    {
        protected override void Append(StringBuilder builder, LogEventInfo logEvent) =>
            builder.Append(logEvent is ForwardedEvent forwarded ? forwarded.Record.ThreadName : Thread.CurrentThread.Name);
    }
}
