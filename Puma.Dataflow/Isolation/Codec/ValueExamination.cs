using System.Diagnostics.CodeAnalysis;
using PolyType;
using PolyType.Abstractions;
using PolyType.ReflectionProvider;

namespace Puma.Dataflow.Isolation.Codec;

/// <summary>
/// Finds in a value what would not arrive whole: an object of a type that nobody declared, of which only the members of its base would
/// travel, and a cycle, which would never end. Any thread.
/// </summary>
/// <remarks>Types none of whose values can be at fault have no examination, so that they cost nothing.</remarks>
[UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "Shapes by reflection are the default; a trimmed program plugs in a codec of its own.")]
[UnconditionalSuppressMessage("Trimming", "IL2070", Justification = "As above.")]
[UnconditionalSuppressMessage("AOT", "IL3050", Justification = "As above.")]
internal sealed class ValueExamination(IReadOnlyList<Type> derivedTypes, int maxDepth) : TypeShapeVisitor
{
    private readonly Lock _gate = new();

    // Guarded by _gate. A type that is in work has an entry without a value.
    private readonly Dictionary<Type, Entry> _entries = [];

    /// <summary>What examines values of a type; null when none can be at fault.</summary>
    public Func<T, Fault?>? For<T>()
    {
        lock (_gate)
            return EntryOf(ReflectionTypeShapeProvider.Default.GetTypeShapeOrThrow<T>()) is Entry<T> { Look: { } look } ? value => look(value, 0) : null;
    }

    /// <summary>What is wrong with a value, and where in it.</summary>
    public sealed record Fault(string Path, string Reason)
    {
        public Fault Within(string member) => this with { Path = member + Path };
    }

    private abstract class Entry
    {
        public bool IsDone { get; set; }

        public abstract bool IsNeeded { get; }

        public abstract Fault? LookAt(object value, int depth);
    }

    private sealed class Entry<T> : Entry
    {
        public Func<T, int, Fault?>? Look { get; set; }

        // What refers to itself can be a cycle.
        public override bool IsNeeded => !IsDone || Look is not null;

        public override Fault? LookAt(object value, int depth) => Look?.Invoke((T)value, depth);
    }

    private Entry? EntryOf(ITypeShape shape)
    {
        if (IsClosed(shape.Type))
            return null;
        return _entries.TryGetValue(shape.Type, out Entry? known) ? known : (Entry?)shape.Accept(this);
    }

    /// <summary>Types that are carried in a way of their own, or that hold nothing but themselves.</summary>
    private static bool IsClosed(Type type) =>
        type == typeof(string) || TypeExamination.IsUnmanaged(type) || type == typeof(SharedBuffer) || TypeExamination.IsKnownLeaf(type)
        || type == typeof(Memory<byte>) || type == typeof(ReadOnlyMemory<byte>) || (type.IsSZArray && TypeExamination.IsUnmanaged(type.GetElementType()!));

    private Entry<T> Begin<T>()
    {
        var entry = new Entry<T>();
        _entries.Add(typeof(T), entry);
        return entry;
    }

    private static Entry<T> End<T>(Entry<T> entry, Func<T, int, Fault?>? look)
    {
        entry.Look = look;
        entry.IsDone = true;
        return entry;
    }

    public override object? VisitObject<T>(IObjectTypeShape<T> objectShape, object? state = null)
    {
        Entry<T> entry = Begin<T>();
        List<Func<T, int, Fault?>> members = [.. objectShape.Properties.Select(p => (Func<T, int, Fault?>?)p.Accept(this)).OfType<Func<T, int, Fault?>>()];
        Type type = typeof(T);
        if (type.IsValueType || type.IsSealed)
            return End(entry, members.Count == 0 ? null : (value, depth) => value is null ? null : LookAtMembers(members, value, depth));
        Dictionary<Type, Entry?> declared = derivedTypes.Where(d => d != type && type.IsAssignableFrom(d)).Distinct()
            .ToDictionary(static d => d, d => EntryOf(ReflectionTypeShapeProvider.Default.GetTypeShapeOrThrow(d)));
        return End(entry, (value, depth) =>
        {
            if (value is null)
                return null;
            Type actual = value.GetType();
            if (actual == type)
                return LookAtMembers(members, value, depth);
            return declared.TryGetValue(actual, out Entry? derived) ? derived?.LookAt(value, depth) : Undeclared(type, actual);
        });
    }

    private Fault? LookAtMembers<T>(List<Func<T, int, Fault?>> members, T value, int depth)
    {
        if (depth >= maxDepth)
            return new Fault("…", $"it is nested more than {maxDepth} deep. If it refers to itself it cannot travel; send what it refers to by a key");
        foreach (Func<T, int, Fault?> look in members)
        {
            if (look(value, depth + 1) is { } fault)
                return fault;
        }

        return null;
    }

    private static Fault Undeclared(Type declared, Type actual) =>
        new("", $"it is a {actual.Name}, of which only what {declared.Name} knows would arrive. List {actual.Name} in {TypeExamination.DerivedTypes}");

    public override object? VisitProperty<TDeclaringType, TPropertyType>(IPropertyShape<TDeclaringType, TPropertyType> propertyShape, object? state = null)
    {
        if (!propertyShape.HasGetter || EntryOf(propertyShape.PropertyType) is not Entry<TPropertyType> { IsNeeded: true } entry)
            return null;
        Getter<TDeclaringType, TPropertyType> get = propertyShape.GetGetter();
        string name = "." + propertyShape.Name;
        return (TDeclaringType owner, int depth) => entry.Look?.Invoke(get(ref owner), depth)?.Within(depth > 8 ? "" : name);
    }

    public override object? VisitEnumerable<TEnumerable, TElement>(IEnumerableTypeShape<TEnumerable, TElement> enumerableShape, object? state = null)
    {
        Entry<TEnumerable> entry = Begin<TEnumerable>();
        bool canBeOther = CanBeOther(typeof(TEnumerable));
        var element = EntryOf(enumerableShape.ElementType) as Entry<TElement>;
        if (element is not { IsNeeded: true } || enumerableShape.IsAsyncEnumerable)
            return End(entry, canBeOther ? static (value, _) => Other(value) : null);
        Func<TEnumerable, IEnumerable<TElement>> elements = enumerableShape.GetGetEnumerable();
        return End(entry, (value, depth) =>
        {
            if (value is null)
                return null;
            if (canBeOther && Other(value) is { } other)
                return other;
            int index = 0;
            foreach (TElement item in elements(value))
            {
                if (element.Look?.Invoke(item, depth) is { } fault)
                    return fault.Within($"[{index}]");
                index++;
            }

            return null;
        });
    }

    public override object? VisitDictionary<TDictionary, TKey, TValue>(IDictionaryTypeShape<TDictionary, TKey, TValue> dictionaryShape, object? state = null)
    {
        Entry<TDictionary> entry = Begin<TDictionary>();
        bool canBeOther = CanBeOther(typeof(TDictionary));
        var key = EntryOf(dictionaryShape.KeyType) as Entry<TKey>;
        var item = EntryOf(dictionaryShape.ValueType) as Entry<TValue>;
        if (key is not { IsNeeded: true } && item is not { IsNeeded: true })
            return End(entry, canBeOther ? static (value, _) => Other(value) : null);
        Func<TDictionary, IReadOnlyDictionary<TKey, TValue>> pairs = dictionaryShape.GetGetDictionary();
        return End(entry, (value, depth) =>
        {
            if (value is null)
                return null;
            if (canBeOther && Other(value) is { } other)
                return other;
            foreach ((TKey k, TValue v) in pairs(value))
            {
                if ((key?.Look?.Invoke(k, depth) ?? item?.Look?.Invoke(v, depth)) is { } fault)
                    return fault.Within($"[{k}]");
            }

            return null;
        });
    }

    public override object? VisitOptional<TOptional, TElement>(IOptionalTypeShape<TOptional, TElement> optionalShape, object? state = null)
    {
        Entry<TOptional> entry = Begin<TOptional>();
        if (EntryOf(optionalShape.ElementType) is not Entry<TElement> { IsNeeded: true } element)
            return End(entry, null);
        OptionDeconstructor<TOptional, TElement> open = optionalShape.GetDeconstructor();
        return End(entry, (value, depth) => open(value, out TElement? inner) ? element.Look?.Invoke(inner, depth) : null);
    }

    public override object? VisitUnion<TUnion>(IUnionTypeShape<TUnion> unionShape, object? state = null)
    {
        Entry<TUnion> entry = Begin<TUnion>();
        Dictionary<Type, Entry?> cases = unionShape.UnionCases.Select(static c => c.UnionCaseType).Where(static s => s.Type != typeof(TUnion)).ToDictionary(static s => s.Type, EntryOf);
        return End(entry, (value, depth) =>
        {
            if (value is null || value.GetType() == typeof(TUnion))
                return null;
            return cases.TryGetValue(value.GetType(), out Entry? known) ? known?.LookAt(value, depth) : Undeclared(typeof(TUnion), value.GetType());
        });
    }

    public override object? VisitEnum<TEnum, TUnderlying>(IEnumTypeShape<TEnum, TUnderlying> enumShape, object? state = null) => null;

    public override object? VisitSurrogate<T, TSurrogate>(ISurrogateTypeShape<T, TSurrogate> surrogateShape, object? state = null) => null;

    public override object? VisitFunction<TFunction, TArgumentState, TResult>(IFunctionTypeShape<TFunction, TArgumentState, TResult> functionShape, object? state = null) => null;

    /// <summary>Whether a collection may be of another type, with members of its own that would not travel. Interfaces promise none, and arrays have none.</summary>
    private static bool CanBeOther(Type collection) => collection is { IsClass: true, IsSealed: false, IsAbstract: false, IsArray: false };

    private static Fault? Other<T>(T collection) => collection is null || collection.GetType() == typeof(T) ? null : Undeclared(typeof(T), collection.GetType());
}
