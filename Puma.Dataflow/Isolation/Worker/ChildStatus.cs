using System.Buffers;
using System.Collections.Concurrent;
using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Encodes what is reported in a child, as it is at that moment, and hands it to what sends it. Any thread.</summary>
internal sealed class ChildStatus(StatusSender sender, ItemCodecs codecs, TimeProvider time) : IStatusSink
{
    private readonly ConcurrentDictionary<Type, string> _names = [];

    // Kept by nobody while a value is encoded, whose members may report, too.
    private PayloadWriter? _writer;

    public void Report<T>(T value)
        where T : notnull
    {
        string name = _names.GetOrAdd(typeof(T), static t => NameOf(t));
        PayloadWriter writer = Interlocked.Exchange(ref _writer, null) ?? new PayloadWriter();
        writer.Reset();
        codecs.For<T>().Write(writer, value);
        if (writer.Length > StatusRecord.MaxValue)
            throw new ItemCodecException(typeof(T), null, $"as a status its encoded form has {writer.Length} bytes; at most {StatusRecord.MaxValue} can travel. Report less, or emit it as an item");
        var encoded = new ArrayBufferWriter<byte>((int)writer.Length);
        writer.CopyTo(encoded);
        bool hasBlocks = writer.HasBlocks;
        writer.Reset();
        _writer = writer;
        sender.Send(name, encoded.WrittenMemory, hasBlocks, time.GetUtcNow().UtcTicks);
    }

    /// <summary>The name by which the parent finds the type.</summary>
    /// <exception cref="ItemCodecException">It would find none, or another one.</exception>
    private static string NameOf(Type type) =>
        type.AssemblyQualifiedName is { } name && DelegateIdentity.TryFindType(name) == type
            ? name
            : throw new ItemCodecException(type, null, "another process cannot find the type. Put it into an assembly of the program itself");
}
