using System.Diagnostics.CodeAnalysis;
using Puma.Dataflow.Isolation.Launch;

/// <summary>What the runtime calls before <c>Main</c> in a process that names this library in DOTNET_STARTUP_HOOKS. The name, and no namespace, is the runtime's rule.</summary>
[SuppressMessage("Design", "CA1050:Declare types in namespaces", Justification = "The runtime looks for it in the global namespace.")]
[SuppressMessage("Style", "IDE0130:Namespace does not match folder structure", Justification = "As above.")]
internal static class StartupHook
{
    public static void Initialize()
    {
        if (ChildMain.IsChild)
            ChildMain.Run();
    }
}
