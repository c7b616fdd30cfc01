namespace Puma.Dataflow.Logging;

/// <summary>Something that is told once a second at most. Not safe for several threads.</summary>
internal struct OncePerSecond
{
    private long _toldAt;

    public readonly bool IsDue => TimeProvider.System.GetElapsedTime(_toldAt) >= TimeSpan.FromSeconds(1);

    public void OnTold() => _toldAt = TimeProvider.System.GetTimestamp();
}
