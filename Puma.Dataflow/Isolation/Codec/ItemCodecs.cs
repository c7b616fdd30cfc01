using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.CompilerServices;
using Nerdbank.MessagePack;
using PolyType;
using PolyType.Abstractions;
using PolyType.ReflectionProvider;
using Puma.Dataflow.Jobs;

namespace Puma.Dataflow.Isolation.Codec;

/// <summary>Chooses how the types of a pipeline are carried: by the user's codec, as they lie in memory, or by their public members. Any thread.</summary>
[UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "Shapes by reflection are the default; a trimmed program plugs in a codec of its own.")]
[UnconditionalSuppressMessage("Trimming", "IL2070", Justification = "As above.")]
[UnconditionalSuppressMessage("Trimming", "IL2060", Justification = "As above.")]
[UnconditionalSuppressMessage("Trimming", "IL2075", Justification = "As above.")]
[UnconditionalSuppressMessage("Trimming", "IL2076", Justification = "As above.")]
[UnconditionalSuppressMessage("AOT", "IL3050", Justification = "As above.")]
internal sealed class ItemCodecs
{
    /// <summary>How deep objects may be nested; beyond it a cycle is more likely than data. The lists between them count for the serializer alone.</summary>
    private const int MaxDepth = 128;

    private readonly IItemCodec? _custom;
    private readonly MessagePackSerializer _serializer;
    private readonly TypeExamination _examination;
    private readonly ValueExamination _values;
    private readonly ConcurrentDictionary<Type, object> _codecs = [];

    public ItemCodecs(IItemCodec? custom, IReadOnlyList<Type> derivedTypes)
    {
        _custom = custom;
        _examination = new TypeExamination(custom, derivedTypes);
        _values = new ValueExamination(derivedTypes, MaxDepth);
        _serializer = new MessagePackSerializer
        {
            Converters = BlockConverters.All,
            DerivedTypeUnions = Unions(derivedTypes),
            PerfOverSchemaStability = true,
            SerializeDefaultValues = SerializeDefaultValuesPolicy.Always,
            StartingContext = new SerializationContext { MaxDepth = 2 * MaxDepth },
        };
    }

    /// <summary>The most bytes of an encoded answer to a job.</summary>
    public int MaxPayload { get; init; } = int.MaxValue;

    /// <exception cref="ItemCodecException">The type cannot be carried.</exception>
    public ItemCodec<T> For<T>() => (ItemCodec<T>)_codecs.GetOrAdd(typeof(T), static (_, codecs) => codecs.Make<T>(), this);

    /// <summary>Why a type cannot be carried, and what to do; null when it can.</summary>
    public string? FindProblem(Type type) => _examination.FindProblem(type);

    public void WriteUntyped(Type type, PayloadWriter writer, object? value) => Call(nameof(WriteBoxed), type, writer, value);

    public object? ReadUntyped(Type type, PayloadReader reader) => Call(nameof(ReadBoxed), type, reader);

    private object? Call(string method, Type type, params object?[] arguments)
    {
        try
        {
            return typeof(ItemCodecs).GetMethod(method, BindingFlags.Instance | BindingFlags.NonPublic)!.MakeGenericMethod(type).Invoke(this, arguments);
        }
        catch (TargetInvocationException wrapper) when (wrapper.InnerException is ItemCodecException inner)
        {
            throw inner;
        }
    }

    private void WriteBoxed<T>(PayloadWriter writer, object? value) => For<T>().Write(writer, (T)value!);

    private object? ReadBoxed<T>(PayloadReader reader) => For<T>().Read(reader);

    private object Make<T>()
    {
        Type type = typeof(T);
        if (type == typeof(JobCall))
            return new JobCallCodec(this);
        if (type == typeof(JobReply))
            return new JobReplyCodec(this);
        if (_custom?.CanCarry(type) == true)
            return new CustomCodec<T>(_custom);
        if (_examination.FindProblem(type) is { } problem)
            throw new ItemCodecException(type, null, problem);
        if (type == typeof(string))
            return new TextCodec();
        if (type == typeof(string[]))
            return new TextArrayCodec();
        if (type == typeof(Memory<byte>))
            return new MemoryCodec();
        if (type == typeof(ReadOnlyMemory<byte>))
            return new ReadOnlyMemoryCodec();
        if (type == typeof(SharedBuffer))
            return new SharedBufferCodec();
        if (!RuntimeHelpers.IsReferenceOrContainsReferences<T>())
            return new UnmanagedCodec<T>();
        if (type.IsSZArray && TypeExamination.IsUnmanaged(type.GetElementType()!))
            return Activator.CreateInstance(typeof(UnmanagedArrayCodec<>).MakeGenericType(type.GetElementType()!))!;
        return new MessagePackCodec<T>(_serializer, (ITypeShape<T>)ReflectionTypeShapeProvider.Default.GetTypeShapeOrThrow(type), _values.For<T>());
    }

    /// <summary>A declared type serves every type of the program that it derives from; it is told by its position.</summary>
    private static DerivedTypeUnionCollection Unions(IReadOnlyList<Type> derivedTypes)
    {
        var unions = new Dictionary<Type, DerivedTypeUnion>();
        for (int i = 0; i < derivedTypes.Count; i++)
        {
            foreach (Type declared in TypeExamination.BasesOf(derivedTypes[i]))
            {
                if (!unions.TryGetValue(declared, out DerivedTypeUnion? union))
                    unions.Add(declared, union = (DerivedTypeUnion)Activator.CreateInstance(typeof(DerivedShapeMapping<>).MakeGenericType(declared))!);
                typeof(ItemCodecs).GetMethod(nameof(Add), BindingFlags.Static | BindingFlags.NonPublic)!.MakeGenericMethod(declared, derivedTypes[i]).Invoke(null, [union, i]);
            }
        }

        return DerivedTypeUnionCollection.Create([.. unions.Values]);
    }

    private static void Add<TBase, TDerived>(DerivedShapeMapping<TBase> mapping, int tag)
        where TDerived : TBase =>
        mapping.Add<TDerived>(tag, ReflectionTypeShapeProvider.Default);
}
