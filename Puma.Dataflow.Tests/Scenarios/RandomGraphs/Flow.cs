namespace Puma.Dataflow.Tests.Scenarios.RandomGraphs;

/// <summary>What the description of a graph says about the items that pass a place.</summary>
internal enum Knowledge
{
    /// <summary>Exactly these, each once.</summary>
    Exact,

    /// <summary>Some of these, each at most once.</summary>
    Some,

    /// <summary>Which ones depends on the timing.</summary>
    Unknown,
}

/// <summary>The items that pass a place in a graph when nothing from outside interferes.</summary>
/// <param name="Values">The items, each with a value of its own.</param>
/// <param name="Knowledge">How much that says.</param>
/// <param name="IsOrdered">Whether they come in this order.</param>
/// <param name="MayDrop">Whether a full mode may have dropped some.</param>
/// <param name="Count">How many they are; null when that depends on the timing.</param>
/// <param name="IsBehindCut">Whether a stage before was cut off at an item.</param>
internal sealed record Flow(IReadOnlyList<long> Values, Knowledge Knowledge, bool IsOrdered, bool MayDrop, int? Count, bool IsBehindCut = false)
{
    public static Flow Of(IReadOnlyList<long> values, bool isOrdered = true) => new(values, Knowledge.Exact, isOrdered, false, values.Count);

    public bool IsSequence => IsOrdered && !MayDrop && Knowledge == Knowledge.Exact;

    /// <summary>Less of the same, in the same order.</summary>
    public Flow Dropping() => this with { MayDrop = true, Count = null, Knowledge = (Knowledge)Math.Max((int)Knowledge, (int)Knowledge.Some) };

    public Flow Keep(Func<long, bool> predicate)
    {
        List<long> kept = [.. Values.Where(predicate)];
        return this with { Values = kept, Count = Knowledge == Knowledge.Exact ? kept.Count : null };
    }

    public Flow Take(int count)
    {
        if (IsSequence)
            return this with { Values = [.. Values.Take(count)], Count = Math.Min(count, Values.Count) };
        bool isAll = Knowledge == Knowledge.Exact && Values.Count <= count;
        return isAll ? this : this with { Knowledge = (Knowledge)Math.Max((int)Knowledge, (int)Knowledge.Some), Count = Count is { } n ? Math.Min(count, n) : null };
    }

    public static Flow Merge(params IReadOnlyList<Flow> flows) => new(
        [.. flows.SelectMany(static f => f.Values)],
        flows.Max(static f => f.Knowledge),
        IsOrdered: false,
        flows.Any(static f => f.MayDrop),
        flows.Any(static f => f.Count is null) ? null : flows.Sum(static f => f.Count),
        flows.Any(static f => f.IsBehindCut));

    public static Flow Join(Flow first, Flow second)
    {
        bool isBehindCut = first.IsBehindCut || second.IsBehindCut;
        if (first.IsSequence && second.IsSequence)
            return Of([.. first.Values.Zip(second.Values, Mixing.Pair)]) with { IsBehindCut = isBehindCut };
        return new Flow([], Knowledge.Unknown, false, first.MayDrop || second.MayDrop, first.Count is { } a && second.Count is { } b ? Math.Min(a, b) : null, isBehindCut);
    }

    /// <summary>Compares what arrived with what was to arrive.</summary>
    /// <param name="arrived">The items, in the order of their arrival.</param>
    /// <param name="isWhole">Whether nothing cut the stream short.</param>
    /// <returns>What is wrong, or null.</returns>
    public string? Mismatch(IReadOnlyList<long> arrived, bool isWhole)
    {
        if (isWhole && Count is { } count && arrived.Count != count)
            return $"{arrived.Count} items arrived instead of {count}";
        if (Count is { } most && arrived.Count > most)
            return $"{arrived.Count} items arrived, more than the {most} there were";
        if (arrived.Distinct().Count() != arrived.Count)
            return "an item arrived twice";
        if (Knowledge == Knowledge.Unknown)
            return null;
        if (IsSequence)
        {
            int same = arrived.Zip(Values).TakeWhile(static p => p.First == p.Second).Count();
            return same == arrived.Count ? null : $"the order is wrong from item {same + 1} of {arrived.Count} on";
        }

        var known = new HashSet<long>(Values);
        if (arrived.Any(x => !known.Contains(x)))
            return "an item arrived that nobody sent";
        if (!IsOrdered)
            return null;
        int next = 0;
        foreach (long value in Values)
        {
            if (next < arrived.Count && arrived[next] == value)
                next++;
        }

        return next == arrived.Count ? null : $"the order is wrong at item {next + 1} of {arrived.Count}";
    }
}

/// <summary>Makes new item values out of old ones, so that each item of a graph is unlike all others.</summary>
internal static class Mixing
{
    public static long Mix(long value, long salt)
    {
        ulong z = (ulong)value + ((ulong)salt * 0x9E3779B97F4A7C15UL) + 0x9E3779B97F4A7C15UL;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return (long)(z ^ (z >> 31));
    }

    public static long Pair(long first, long second) => Mix(first, second ^ 0x5DEECE66D);

    /// <summary>A number from 0 up to a limit that depends on the value only.</summary>
    public static int Small(long value, int limit) => (int)((ulong)Mix(value, 77) % (ulong)limit);
}
