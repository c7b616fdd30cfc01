using System.Reflection;
using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Stages;

/// <summary>Finds delegates whose asynchronous work nobody would wait for.</summary>
internal static class DroppedResults
{
    public static void Check(Delegate action, List<string> problems)
    {
        MethodInfo method = action.Method;
        if (method.ReturnType == typeof(void) && method.IsDefined(typeof(AsyncStateMachineAttribute), inherit: false))
            problems.Add("the delegate is async void, so nobody could wait for it or see it fail. Return a Task or ValueTask.");
        else if (IsDroppedAwaitable(method.ReturnType))
            problems.Add($"the delegate returns {method.ReturnType.Name}, which is awaitable but would be dropped. Await it in an async lambda.");
    }

    private static bool IsDroppedAwaitable(Type type)
    {
        if (type == typeof(void) || type == typeof(Task) || type == typeof(ValueTask) || typeof(Task).IsAssignableFrom(type))
            return false;
        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(ValueTask<>))
            return false;
        return type == typeof(ConfiguredTaskAwaitable) || type == typeof(ConfiguredValueTaskAwaitable) || type == typeof(YieldAwaitable)
            || (type.IsGenericType && (type.GetGenericTypeDefinition() == typeof(ConfiguredTaskAwaitable<>) || type.GetGenericTypeDefinition() == typeof(ConfiguredValueTaskAwaitable<>)))
            || HasAwaiter(type);
    }

    [System.Diagnostics.CodeAnalysis.UnconditionalSuppressMessage("Trimming", "IL2070", Justification = "A trimmed GetAwaiter cannot be awaited by anybody; the check then finds nothing, which is right.")]
    private static bool HasAwaiter(Type type) => type.GetMethod("GetAwaiter", Type.EmptyTypes) is not null;
}
