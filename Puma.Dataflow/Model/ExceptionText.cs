namespace Puma.Dataflow;

/// <summary>What exceptions say. Those of user code may throw when they are asked, and must not keep a run from its end.</summary>
internal static class ExceptionText
{
    public static string MessageOf(Exception error)
    {
        try
        {
            return error.Message;
        }
        catch (Exception inner)
        {
            return $"(its Message threw {inner.GetType().Name})";
        }
    }
}
