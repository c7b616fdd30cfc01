using Puma.Dataflow.Logging;

namespace Puma.Dataflow.Isolation.Supervision;

/// <summary>A child that has made contact and has no user code yet.</summary>
/// <param name="Body">Its body.</param>
/// <param name="Log">Its log, which is not connected yet; what it writes to standard output is there already.</param>
internal sealed record BareChild(IChildBody Body, ChildLog Log) : IAsyncDisposable
{
    /// <summary>Ends the child and frees all that belongs to it.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await Body.DisposeAsync().ConfigureAwait(false);
        }
        finally
        {
            await Log.DisposeAsync().ConfigureAwait(false);
        }
    }
}
