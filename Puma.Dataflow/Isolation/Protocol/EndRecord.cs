namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>How the run ends, as told to user code.</summary>
internal sealed record EndRecord(RunState Outcome, ErrorRecord? Cause)
{
    public void WriteTo(FieldWriter writer)
    {
        writer.Byte((byte)Outcome);
        writer.Bool(Cause is not null);
        Cause?.WriteTo(writer);
    }

    /// <exception cref="ProtocolViolationException">The bytes are no end record.</exception>
    public static EndRecord ReadFrom(ref FieldReader reader)
    {
        var outcome = (RunState)reader.Byte();
        if (!Enum.IsDefined(outcome))
            throw new ProtocolViolationException($"An end record has the unknown outcome {(int)outcome}.");
        return new EndRecord(outcome, reader.Bool() ? ErrorRecord.ReadFrom(ref reader) : null);
    }
}
