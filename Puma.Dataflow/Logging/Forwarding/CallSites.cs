using System.Diagnostics;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>Finds where in the code something is logged: the first caller that is no part of a logging library, with the names that NLog gives to what the compiler makes of it.</summary>
internal static class CallSites
{
    public static CallSite? Find()
    {
        foreach (StackFrame frame in new StackTrace(fNeedFileInfo: true).GetFrames())
        {
            if (DiagnosticMethodInfo.Create(frame) is { } method && !IsOfLogging(method.DeclaringAssemblyName))
                return new CallSite(TypeOf(method), MethodOf(method), frame.GetFileName(), frame.GetFileLineNumber());
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

    private static bool IsOfLogging(string assembly) =>
        assembly.StartsWith("NLog", StringComparison.Ordinal) || assembly.StartsWith("Microsoft.Extensions.Logging", StringComparison.Ordinal) || assembly.StartsWith("Puma.Dataflow,", StringComparison.Ordinal);
}
