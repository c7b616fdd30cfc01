namespace Puma.Dataflow.Logging;

/// <summary>What is logged where an object of user code has thrown instead of saying something.</summary>
internal static class LogFailure
{
    /// <summary>The name of the value that says why values are missing.</summary>
    public const string Unreadable = "puma.unreadable";

    /// <param name="text">As far as it can be told.</param>
    /// <param name="error">Why it is not what it should be.</param>
    public static string NotFormatted(string? text, Exception error) => $"{text} (could not be formatted: {error.GetType().Name})";

    public static string NotRead(Exception error) => $"(could not be read: {error.GetType().Name})";
}
