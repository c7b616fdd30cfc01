using System.Diagnostics;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>Finds where in the code something is logged: the first caller that is no part of a logging library.</summary>
internal static class CallSites
{
    public static CallSite? Find()
    {
        foreach (StackFrame frame in new StackTrace(fNeedFileInfo: true).GetFrames())
        {
            if (DiagnosticMethodInfo.Create(frame) is { } method && !IsOfLogging(method.DeclaringAssemblyName))
                return new CallSite(method.DeclaringTypeName, method.Name, frame.GetFileName(), frame.GetFileLineNumber());
        }

        return null;
    }

    private static bool IsOfLogging(string assembly) =>
        assembly.StartsWith("NLog", StringComparison.Ordinal) || assembly.StartsWith("Microsoft.Extensions.Logging", StringComparison.Ordinal) || assembly.StartsWith("Puma.Dataflow,", StringComparison.Ordinal);
}
