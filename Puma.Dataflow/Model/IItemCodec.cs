using System.Buffers;

namespace Puma.Dataflow;

/// <summary>Another way to carry items between processes. One object serves many threads at once, so it must not keep state from call to call.</summary>
public interface IItemCodec
{
    /// <summary>Whether this codec carries values of a type; if not, the library's own does.</summary>
    /// <param name="type">The type that the pipeline declares; not that of a value.</param>
    bool CanCarry(Type type);

    /// <summary>Encodes a value. An exception fails the item at its sender, as one that cannot be carried.</summary>
    /// <typeparam name="T">The declared type.</typeparam>
    /// <param name="target">Where to.</param>
    /// <param name="value">The value; may be null.</param>
    void Write<T>(IBufferWriter<byte> target, T value);

    /// <summary>Decodes a value. An exception fails the item in a child; in the parent, where results are read, it ends the child as one that broke the protocol.</summary>
    /// <typeparam name="T">The declared type.</typeparam>
    /// <param name="source">What <see cref="Write{T}"/> wrote, and nothing else.</param>
    T Read<T>(ReadOnlySequence<byte> source);
}
