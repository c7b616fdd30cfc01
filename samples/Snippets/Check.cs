using System.Runtime.CompilerServices;

namespace Snippets;

internal static class Check
{
    public static void That(bool condition, [CallerArgumentExpression(nameof(condition))] string? text = null)
    {
        if (!condition)
            throw new InvalidOperationException($"A snippet does not do what its page says: {text}");
    }
}
