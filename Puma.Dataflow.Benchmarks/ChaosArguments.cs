using System.Globalization;

namespace Puma.Dataflow.Benchmarks;

/// <summary>What the chaos command is to do.</summary>
internal sealed record ChaosArguments(double Seconds, double KillEvery, string Loss, int Parallel, string? JsonPath)
{
    public const string Usage = "usage: chaos [--seconds 20] [--kill-every 0.5] [--loss replay|deadletter|fault] [--parallel 2] [--json FILE]";

    /// <exception cref="FormatException">The arguments make no sense; the message says why.</exception>
    public static ChaosArguments Parse(ReadOnlySpan<string> args)
    {
        var result = new ChaosArguments(Seconds: 20, KillEvery: 0.5, Loss: "replay", Parallel: 2, JsonPath: null);
        for (int i = 0; i < args.Length; i += 2)
        {
            if (i + 1 == args.Length)
                throw new FormatException($"{args[i]} needs a value.");
            string value = args[i + 1];
            result = args[i] switch
            {
                "--seconds" => result with { Seconds = Positive(args[i], value) },
                "--kill-every" => result with { KillEvery = Positive(args[i], value) },
                "--loss" => result with { Loss = value is "replay" or "deadletter" or "fault" ? value : throw new FormatException($"--loss takes replay, deadletter or fault, not '{value}'.") },
                "--parallel" => result with { Parallel = int.TryParse(value, out int n) && n is >= 1 and <= 64 ? n : throw new FormatException($"--parallel takes a number from 1 to 64, not '{value}'.") },
                "--json" => result with { JsonPath = value },
                _ => throw new FormatException($"There is no option '{args[i]}'."),
            };
        }

        return result;
    }

    private static double Positive(string option, string value) =>
        double.TryParse(value, CultureInfo.InvariantCulture, out double number) && number is > 0 and < 1e6 ? number : throw new FormatException($"{option} takes a positive number of seconds, not '{value}'.");
}
