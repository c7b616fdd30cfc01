using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Control;

/// <summary>Puts the reports of an instance in this process straight onto the board of its stage.</summary>
internal sealed class LocalStatus(StatusBoard board, int instance, TimeProvider time) : IStatusSink
{
    public void Report<T>(T value)
        where T : notnull =>
        board.Add(new StatusReport<T>(value, instance, time.GetUtcNow()));
}
