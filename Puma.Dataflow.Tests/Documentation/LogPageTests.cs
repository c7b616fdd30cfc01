using System.Reflection;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>The table of events in docs/logging.md says what the library logs.</summary>
public sealed class LogPageTests
{
    [Fact]
    public void Table_HasEveryEventWithItsLevelAndText()
    {
        IEnumerable<string> real = typeof(Log).GetMethods(BindingFlags.Public | BindingFlags.Static)
            .Select(static m => (m.Name, Event: m.GetCustomAttribute<LoggerMessageAttribute>()!))
            .OrderBy(static e => e.Event.EventId)
            .Select(static e => $"{e.Event.EventId} {e.Name} {(e.Event.Level == LogLevel.None ? "as asked" : e.Event.Level)} {e.Event.Message}");

        IEnumerable<string> told = Repository.ReadTable("docs/logging.md", "Id").Select(static row => $"{row[0]} {row[1].Trim('`')} {row[2]} {row[3].Trim('`')}");

        Assert.Equal(real, told);
    }
}
