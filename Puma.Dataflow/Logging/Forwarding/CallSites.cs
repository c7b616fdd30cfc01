using System.Diagnostics;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>
/// Finds where in the code something is logged: the first caller that is no part of logging, with the names that NLog gives to what the
/// compiler makes of it. There is none when the runtime has made that caller a part of the code that called it.
/// </summary>
internal static class CallSites
{
    public static CallSite? Find()
    {
        foreach (StackFrame frame in new StackTrace(fNeedFileInfo: true).GetFrames())
        {
            if (DiagnosticMethodInfo.Create(frame) is not { } method || IsOfLogging(method))
                continue;
            return IsUserCode(method) ? new CallSite(TypeOf(method), MethodOf(method), frame.GetFileName(), frame.GetFileLineNumber()) : null;
        }

        return null;
    }

    /// <summary>The type that was written: not that of a state machine or of captured variables.</summary>
    private static string? TypeOf(DiagnosticMethodInfo method) => method.DeclaringTypeName?.Split("+<")[0];

    /// <summary>The method that was written, which stands in brackets in the name of a state machine, a lambda or a local function.</summary>
    private static string MethodOf(DiagnosticMethodInfo method)
    {
        string name = method.Name == "MoveNext" && method.DeclaringTypeName is { } type ? type[(type.LastIndexOf('+') + 1)..] : method.Name;
        return name.StartsWith('<') ? name.TrimStart('<').Split('>')[0] : method.Name;
    }

    private static bool IsOfLogging(DiagnosticMethodInfo method) =>
        method.DeclaringAssemblyName.StartsWith("NLog", StringComparison.Ordinal) || method.DeclaringAssemblyName.StartsWith("Microsoft.Extensions.Logging", StringComparison.Ordinal)
        || method.DeclaringTypeName?.StartsWith("Puma.Dataflow.Logging.", StringComparison.Ordinal) == true;

    private static bool IsUserCode(DiagnosticMethodInfo method) =>
        !method.DeclaringAssemblyName.StartsWith("System.Private.CoreLib,", StringComparison.Ordinal) && !method.DeclaringAssemblyName.StartsWith("Puma.Dataflow,", StringComparison.Ordinal);
}
