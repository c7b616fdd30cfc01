namespace Puma.Dataflow.Control;

/// <summary>Where the reports of one instance go. Any thread; never waits.</summary>
internal interface IStatusSink
{
    /// <exception cref="ItemCodecException">The value cannot be carried to where it is read.</exception>
    void Report<T>(T value)
        where T : notnull;
}
