using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Nerdbank.MessagePack;
using PolyType;

namespace Puma.Dataflow.Isolation.Codec;

/// <summary>Carries any other type by its public members, as MessagePack; large blocks of bytes go out of band wherever they stand.</summary>
internal sealed class MessagePackCodec<T>(MessagePackSerializer serializer, ITypeShape<T> shape, Func<T, ValueExamination.Fault?>? examine) : ItemCodec<T>
{
    public override void Write(PayloadWriter writer, T item)
    {
        PayloadWriter? outer = BlockConverters.Writer;
        BlockConverters.Writer = writer;
        try
        {
            if (examine?.Invoke(item) is { } fault)
                throw new ItemCodecException(typeof(T), fault.Path.Length == 0 ? null : typeof(T).Name + fault.Path, fault.Reason);
            serializer.Serialize(writer, item, shape);
        }
        catch (Exception error) when (error is not ItemCodecException)
        {
            throw Failed(error);
        }
        finally
        {
            BlockConverters.Writer = outer;
        }
    }

    public override T Read(PayloadReader reader)
    {
        PayloadReader? outer = BlockConverters.Reader;
        BlockConverters.Reader = reader;
        try
        {
            return serializer.Deserialize(reader.Head, shape)!;
        }
        catch (Exception error) when (error is not ItemCodecException)
        {
            throw Failed(error);
        }
        finally
        {
            BlockConverters.Reader = outer;
        }
    }

    /// <summary>The serializer wraps what happened once for each level; the innermost says it.</summary>
    private static ItemCodecException Failed(Exception error)
    {
        Exception first = error;
        var path = new List<string>();
        for (; first.InnerException is { } inner; first = inner)
            path.Add(ExceptionText.MessageOf(first));
        return new ItemCodecException(typeof(T), null, $"{string.Join(" ", path)} {first.GetType().Name}: {ExceptionText.MessageOf(first)}".Trim(), error) { IsMalformed = first is ItemCodecException { IsMalformed: true } };
    }
}
