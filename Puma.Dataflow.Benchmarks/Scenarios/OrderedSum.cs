namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>Folds what arrives, so that also a changed order shows.</summary>
internal sealed class OrderedSum
{
    public long Value { get; private set; }

    public void Add(int value) => Value = unchecked((Value * 31) + value);

    public static long Of(IEnumerable<int> values)
    {
        OrderedSum sum = new();
        foreach (int value in values)
            sum.Add(value);
        return sum.Value;
    }
}
