namespace Puma.Dataflow.Tests.Commands;

/// <summary>The places where a runnable can live, by the names that tests have for them.</summary>
internal static class Placed
{
    public static TheoryData<string> All => ["in process", "own thread", "loopback", "child process"];

    /// <summary>Those where ticks follow the clock of the test.</summary>
    public static TheoryData<string> OnFakeTime => ["in process", "own thread", "loopback"];

    public static bool IsIsolated(string place) => place is "loopback" or "child process";

    public static StageOptions At(string place, string name) => new()
    {
        Name = name,
        OwnThread = place == "own thread",
        Placement = place switch
        {
            "loopback" => Placement.Loopback,
            "child process" => Placement.ChildProcess,
            _ => Placement.InProcess,
        },
    };
}
