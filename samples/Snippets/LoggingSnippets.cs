using NLog;
using NLog.Config;
using NLog.Targets;

namespace Snippets;

/// <summary>What docs/logging.md does with NLog.</summary>
internal static class LoggingSnippets
{
    public static void Run()
    {
        using var memory = new MemoryTarget("memory");
        var first = new LoggingConfiguration();
        first.AddRule(NLog.LogLevel.Info, NLog.LogLevel.Fatal, memory);
        LogManager.Configuration = first;
        Levels();
        Restore();
        List();
        LogManager.Configuration = null;

        void Levels()
        {
            Logger section = LogManager.GetLogger("Runnables.numbers.double"), other = LogManager.GetLogger("Other");
            Check.That(!section.IsDebugEnabled); // the section begins at Information

            #region logging-levels
            // Less of a section, by a rule before those that are there; then more of everything else, by the rules that write.
            LoggingConfiguration configuration = LogManager.Configuration!;
            configuration.LoggingRules.Insert(0, new LoggingRule { LoggerNamePattern = "Runnables.numbers.*", FinalMinLevel = NLog.LogLevel.Error });
            LogManager.ReconfigExistingLoggers();

            foreach (LoggingRule rule in configuration.LoggingRules.Where(static r => r.Targets.Count > 0))
                rule.SetLoggingLevels(NLog.LogLevel.Trace, NLog.LogLevel.Fatal);
            LogManager.ReconfigExistingLoggers();
            #endregion

            Check.That(!section.IsWarnEnabled && section.IsErrorEnabled); // the section has a level of its own
            Check.That(other.IsTraceEnabled); // the root has another
        }

        static void Restore()
        {
            #region logging-restore
            LoggingConfiguration saved = LogManager.Configuration!;
            LogManager.Configuration = new LoggingConfiguration();
            LogManager.Configuration = saved;
            #endregion

            Check.That(LogManager.GetLogger("Other").IsTraceEnabled); // the configuration is restored
        }

        static void List()
        {
            #region logging-list
            foreach (Target target in LogManager.Configuration!.AllTargets)
                Console.WriteLine($"{target.Name}: {target}");
            foreach (LoggingRule rule in LogManager.Configuration.LoggingRules)
                Console.WriteLine(rule);
            #endregion
        }
    }
}
