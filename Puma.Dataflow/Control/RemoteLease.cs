namespace Puma.Dataflow.Control;

/// <summary>The end of the lease of an object that was lent.</summary>
internal static class RemoteLease
{
    public static readonly ControlMember<IAsyncDisposable, NoValue, NoValue> End = new(
        "IAsyncDisposable.DisposeAsync",
        static () => End!,
        static async (lent, _, _, _) =>
        {
            await lent.DisposeAsync().ConfigureAwait(true);
            return default;
        })
    { EndsLease = true, IsWatched = false };
}
