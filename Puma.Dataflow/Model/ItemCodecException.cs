namespace Puma.Dataflow;

/// <summary>A value cannot be carried to another process. The message names its type, the member and what to do.</summary>
public sealed class ItemCodecException : PipelineException
{
    internal ItemCodecException(Type type, string? member, string reason, Exception? inner = null)
        : base($"A value of type {type.Name} cannot be carried to another process{(member is null ? "" : $" because of its member {member}")}: {reason.TrimEnd('.')}.", inner)
    {
        ItemType = type;
        Member = member;
        Reason = reason;
    }

    /// <summary>What is wrong, without the names of the type and the member.</summary>
    internal string Reason { get; }

    /// <summary>Whether the bytes are none that this library writes, so that their sender is to blame, and no type.</summary>
    internal bool IsMalformed { get; init; }

    /// <summary>The type of the value.</summary>
    public Type ItemType { get; }

    /// <summary>The path of the member that is to blame, for example <c>Frame.Pixels.Owner</c>; null when it is the value itself or unknown.</summary>
    public string? Member { get; }
}
