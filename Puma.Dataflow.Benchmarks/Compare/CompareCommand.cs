using System.Globalization;
using System.Text.Json;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Compare;

/// <summary>
/// How fast is a pipeline beside the same work done with other means? Interleaved rounds on this machine, a table, and on request a JSON
/// file. Sensitive to the cost of a hand-over and to everything else that runs: compare the ratios, not the times.
/// </summary>
internal static class CompareCommand
{
    private const int Rounds = 7;

    /// <param name="arguments"><c>--items N</c> sets how many items a run of a chain moves at most (default 1,000,000), and with it those of the other scenarios, <c>--json FILE</c> writes the rows, <c>--only TEXT</c> leaves out the scenarios whose <c>name@capacity</c> does not contain the text.</param>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(string[] arguments)
    {
        (int items, string? json, string only) = (1_000_000, null, "");
        for (int i = 0; i < arguments.Length; i += 2)
        {
            string value = i + 1 < arguments.Length ? arguments[i + 1] : "";
            switch (arguments[i])
            {
                case "--items" when int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out items) && items > 0:
                    break;
                case "--json" when value != "":
                    json = value;
                    break;
                case "--only" when value != "":
                    only = value;
                    break;
                default:
                    Console.Error.WriteLine("Usage: compare [--items N] [--json FILE] [--only TEXT]");
                    return 2;
            }
        }

        Scenario[] scenarios = [.. Scenarios(items).Where(s => $"{s.Name}@{s.Capacity}".Contains(only, StringComparison.Ordinal))];
        if (scenarios.Length == 0)
        {
            Console.Error.WriteLine($"No scenario's name@capacity contains '{only}'. One is chain3-int@128; upper and lower case differ.");
            return 2;
        }

        List<Row> rows = [];
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{"scenario",-20} {"capacity",8}  {"subject",-16} {"items/s",13} {"ns/item",10} {"bytes/item",10} {"to tpl",8} {"to limit",9}"));
        foreach (Scenario scenario in scenarios)
        {
            foreach (Row row in await Measurement.MeasureAsync(scenario, Rounds))
            {
                rows.Add(row);
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{row.Scenario,-20} {row.Capacity,8}  {row.Subject,-16} {row.ItemsPerSecond,13:N0} {row.NsPerItem,10:N1} {row.BytesPerItem,10:N2} {row.RatioToTpl,8:N2} {row.RatioToLimit,9:N3}"));
            }
        }

        if (json is not null)
            await File.WriteAllTextAsync(json, JsonSerializer.Serialize(rows, s_indented));
        return 0;
    }

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    private static IEnumerable<Scenario> Scenarios(int items)
    {
        foreach (int capacity in (int[])[128, 1024])
            yield return Chains.OfInts(3, capacity, items);
        foreach (int capacity in (int[])[128, 1024])
            yield return Chains.OfReferences(3, capacity, items);
        foreach (int capacity in (int[])[128, 1024])
            yield return Chains.OfInts(10, capacity, items);
        yield return Pools.Ordered(128, items);
        yield return Pools.OfWork(128, Math.Max(2, items / 20));
        yield return FanOut.ToTwo(128, items);
        yield return Senders.OneByOne(Math.Max(1, items / 125));
        yield return Children.OfReadings(1024, (int)Math.Min(items * 20L, int.MaxValue));
        yield return Children.OfBlocks(4, Math.Max(1, items / 5000));
    }
}
