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
    private static readonly Lazy<bool> Registered = new(static () =>
    {
        LogManager.Setup().SetupExtensions(static e => e
            .RegisterLayoutRenderer<ProcessIdRenderer>("processid")
            .RegisterLayoutRenderer<ThreadIdRenderer>("threadid")
            .RegisterLayoutRenderer<ThreadNameRenderer>("threadname"));
        return true;
    });

    /// <summary>To be called before something is forwarded to a configuration.</summary>
    public static void Adopt(LoggingConfiguration configuration)
    {
        _ = Registered.Value;
        foreach (TargetWithLayout target in configuration.AllTargets.OfType<TargetWithLayout>())
        {
            if (target.Layout is SimpleLayout layout)
                target.Layout = Renewed(layout);
            else
                RenewWithin(target.Layout);
        }
    }

    /// <summary>Whether a layout of a configuration shows the place in the code.</summary>
    public static bool WantCallSite(LoggingConfiguration configuration) =>
        configuration.AllTargets.OfType<TargetWithLayout>().SelectMany(static t => TextsOf(t.Layout)).Any(static text => text.Contains("${callsite", StringComparison.OrdinalIgnoreCase));

    private static IEnumerable<string> TextsOf(Layout? layout) => layout switch
    {
        SimpleLayout simple => [simple.Text],
        CompoundLayout compound => compound.Layouts.SelectMany(TextsOf),
        JsonLayout json => json.Attributes.SelectMany(static a => TextsOf(a.Layout)),
        CsvLayout csv => csv.Columns.SelectMany(static c => TextsOf(c.Layout)),
        _ => [],
    };

    private static void RenewWithin(Layout? layout)
    {
        switch (layout)
        {
            case CsvLayout csv:
                foreach (CsvColumn column in csv.Columns.Where(static c => c.Layout is SimpleLayout))
                    column.Layout = Renewed((SimpleLayout)column.Layout);
                break;
            case CompoundLayout compound:
                for (int i = 0; i < compound.Layouts.Count; i++)
                {
                    if (compound.Layouts[i] is SimpleLayout simple)
                        compound.Layouts[i] = Renewed(simple);
                    else
                        RenewWithin(compound.Layouts[i]);
                }

                break;
            case JsonLayout json:
                foreach (JsonAttribute attribute in json.Attributes)
                {
                    if (attribute.Layout is SimpleLayout simple)
                        attribute.Layout = Renewed(simple);
                    else
                        RenewWithin(attribute.Layout);
                }

                break;
        }
    }

    private static SimpleLayout Renewed(SimpleLayout layout) =>
        layout.LayoutRenderers.Any(static r => r is ProcessIdLayoutRenderer or ThreadIdLayoutRenderer or ThreadNameLayoutRenderer) ? new SimpleLayout(layout.Text) : layout;

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
