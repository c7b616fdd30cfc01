using Puma.Dataflow;

namespace DuplicateFinder;

/// <summary>What the user asked for.</summary>
internal sealed record Arguments(string Folder, int Parallel, Placement Placement, bool Json)
{
    private const int MaxParallel = 128;

    public const string Usage = """
        usage: DuplicateFinder [folder] [--parallel N] [--placement inprocess|loopback|childprocess] [--json]

        Finds files with the same content. Only reads.
          folder        where to look, with all folders below it; default: the current folder
          --parallel    how many files are hashed at the same time, 1 to 128; default: the number of processors
          --placement   where they are hashed; default: inprocess
          --json        print one JSON object instead of text

        Ctrl+C finishes what was found so far; a second one gives up.
        Exit code: 0 done, 1 failed, 2 wrong arguments, 130 given up.
        """;

    /// <exception cref="FormatException">The arguments make no sense; the message says why.</exception>
    public static Arguments Parse(string[] args)
    {
        string? folder = null;
        int parallel = Math.Min(Environment.ProcessorCount, MaxParallel);
        Placement placement = Placement.InProcess;
        bool json = false;
        for (int i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--parallel":
                    string number = ValueAfter(ref i);
                    if (!int.TryParse(number, out parallel) || parallel is < 1 or > MaxParallel)
                        throw new FormatException($"--parallel takes a number from 1 to {MaxParallel}, not '{number}'.");
                    break;
                case "--placement":
                    placement = PlacementOf(ValueAfter(ref i));
                    break;
                case "--json":
                    json = true;
                    break;
                case ['-', ..]:
                    throw new FormatException($"There is no option '{args[i]}'.");
                default:
                    folder = folder is null ? args[i] : throw new FormatException($"Give one folder, not both '{folder}' and '{args[i]}'.");
                    break;
            }
        }

        folder ??= ".";
        if (!Directory.Exists(folder))
            throw new FormatException(File.Exists(folder) ? $"'{folder}' is a file, not a folder." : $"There is no folder '{folder}'.");
        return new Arguments(Path.GetFullPath(folder), parallel, placement, json);

        string ValueAfter(ref int i) => ++i < args.Length ? args[i] : throw new FormatException($"{args[i - 1]} needs a value.");
    }

    private static Placement PlacementOf(string name) => name switch
    {
        "inprocess" => Placement.InProcess,
        "loopback" => Placement.Loopback,
        "childprocess" => Placement.ChildProcess,
        _ => throw new FormatException($"--placement takes inprocess, loopback or childprocess, not '{name}'."),
    };
}
