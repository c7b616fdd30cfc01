using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Diagnostics;

/// <summary>Pipelines and runs as pictures.</summary>
public sealed class GraphTextTests : PipelineTest
{
    [Fact]
    public void Pipeline_AsMermaid_ShowsStagesLinksBranchesAndDeadLetters()
    {
        Pipeline pipeline = Drawn(new BufferBlock<DeadLetter<int>>());

        Assert.Equal(
            """
            flowchart LR
                s0(["list<br>from"])
                s1[["square<br>transform ×2<br>loopback"]]
                s2["broadcast"]
                s3(["sum<br>for-each"])
                s4(["for-each"])
                s5(["dead-letters"])
                s0 -->|"64 slots"| s1
                s1 -->|"128 slots"| s2
                s2 -->|"1 slot"| s3
                s2 -->|"audit: 9 slots, optional, DropOldest"| s4
                s1 -.->|"128 slots"| s5

            """,
            pipeline.ToMermaid());
    }

    [Fact]
    public void Pipeline_AsDot_ShowsTheSame()
    {
        Pipeline pipeline = Drawn(new BufferBlock<DeadLetter<int>>());

        Assert.Equal(
            """
            digraph pipeline {
                rankdir=LR;
                node [shape=box];
                s0 [label="list\nfrom", shape=oval];
                s1 [label="square\ntransform ×2\nloopback", peripheries=2];
                s2 [label="broadcast"];
                s3 [label="sum\nfor-each", shape=oval];
                s4 [label="for-each", shape=oval];
                s5 [label="dead-letters", shape=oval];
                s0 -> s1 [label="64 slots"];
                s1 -> s2 [label="128 slots"];
                s2 -> s3 [label="1 slot"];
                s2 -> s4 [label="audit: 9 slots, optional, DropOldest"];
                s1 -> s5 [label="128 slots", style=dashed];
            }

            """,
            pipeline.ToDot());
    }

    [Fact] // what is drawn before the run is what runs
    public async Task Pipeline_AndItsRuns_HaveTheSameStagesAndLinks()
    {
        Pipeline pipeline = Drawn(new BufferBlock<DeadLetter<int>>(), Options);
        PipelineRun run = Watch(pipeline.Start(TestToken));
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Links(pipeline.ToMermaid()), Links(report.ToMermaid()));
        Assert.Equal(Nodes(pipeline.ToMermaid()), Nodes(report.ToMermaid()));

        static IEnumerable<string> Links(string graph) => graph.Split('\n').Where(static l => l.Contains("->|", StringComparison.Ordinal)).Select(static l => l[..l.IndexOf('|', StringComparison.Ordinal)] + l[l.LastIndexOf('|')..]);

        // Up to the name; a run does not know where a stage lives, so the shape is left out.
        static IEnumerable<string> Nodes(string graph) => graph.Split('\n').Where(static l => l.StartsWith("    s", StringComparison.Ordinal) && !l.Contains("->|", StringComparison.Ordinal)).Select(static l => $"{l.TrimStart().Split('(', '[')[0]} {l.Split('"')[1].Split("<br>")[0]}");
    }

    [Fact]
    public void Snapshot_ShowsStatesCountsAndHowFullTheLinksAre()
    {
        var snapshot = new PipelineSnapshot
        {
            State = RunState.Running,
            Stages =
            [
                new() { Name = "from", Kind = "from", State = StageState.Completed, Activity = StageActivity.Ended, Emitted = 9 },
                new() { Name = "work", Kind = "transform", State = StageState.Running, Activity = StageActivity.WaitingForOutput, WaitsFor = "sink", Accepted = 9, Delivered = 6, InFlight = 1, Emitted = 6, Skipped = 1 },
                new() { Name = "sink", Kind = "for-each", State = StageState.Faulted, Accepted = 6 },
                new() { Name = "dead-letters", Kind = "dead-letters", State = StageState.Canceled },
            ],
            Links =
            [
                new("from", "work", 4, 9, 8, 0, 0) { Queued = 1, SlotsHeld = 2 },
                new("work", "sink", 4, 6, 2, 0, 3) { Queued = 4, IsOptional = true },
                new("work", "dead-letters", 128, 0, 0, 0, 0),
            ],
        };

        Assert.Equal(
            """
            flowchart LR
                s0(["from<br>Completed<br>emitted 9"])
                s1["work<br>transform, Running<br>waits for a slot of sink<br>accepted 9, in flight 1, delivered 6, skipped 1, emitted 6"]
                s2(["sink<br>for-each, Faulted<br>accepted 6"])
                s3(["dead-letters<br>Canceled"])
                s0 -->|"1/4 queued, 9 sent"| s1
                s1 -->|"4/4 queued, 6 sent, dropped 3, optional"| s2
                s1 -.->|"0/128 queued, 0 sent"| s3
                classDef isCompleted fill:#d5efd5,color:#000000
                class s0 isCompleted
                classDef isBlocked fill:#ffe8a3,color:#000000
                class s1 isBlocked
                classDef isFaulted fill:#f5c2c2,color:#000000
                class s2 isFaulted
                classDef isCanceled fill:#dddddd,color:#000000
                class s3 isCanceled

            """,
            snapshot.ToMermaid());
        Assert.Contains("""s1 [label="work\ntransform, Running\nwaits for a slot of sink\naccepted 9, in flight 1, delivered 6, skipped 1, emitted 6", style=filled, fillcolor="#ffe8a3"];""", snapshot.ToDot(), StringComparison.Ordinal);
        Assert.Contains("""s1 -> s3 [label="0/128 queued, 0 sent", style=dashed];""", snapshot.ToDot(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("end", "end", "end")]
    [InlineData("a\"b", "a#34;b", "a\\\"b")]
    [InlineData("a[b]{c}", "a#91;b#93;#123;c#125;", "a[b]{c}")]
    [InlineData("a\\", "a#92;", "a\\\\")]
    [InlineData("two\r\nlines", "two<br>lines", "two\\nlines")]
    [InlineData("<b>&amp;", "#60;b#62;#38;amp#59;", "<b>&amp;amp;")]
    [InlineData("#35; `x` _y_ *z* |", "#35;35#59; #96;x#96; #95;y#95; #42;z#42; #124;", "#35; `x` _y_ *z* |")]
    [InlineData("1. - a-b v1.2", "1#46; #45; a-b v1.2", "1. - a-b v1.2")]
    [InlineData("größer €5\u0007", "größer #8364;5", "größer €5")]
    [InlineData("part/stage", "part/stage", "part/stage")]
    public void Names_AreEscaped(string name, string mermaid, string dot)
    {
        Pipeline pipeline = Pipeline.From([1]).ForEach(static _ => { }, new() { Name = name }).Build();

        Assert.Contains($"    s1([\"{mermaid}<br>for-each\"])\n", pipeline.ToMermaid(), StringComparison.Ordinal);
        Assert.Contains($"    s1 [label=\"{dot}\\nfor-each\", shape=oval];\n", pipeline.ToDot(), StringComparison.Ordinal);
    }

    [Fact]
    public void StagesInChildProcesses_AreMarked()
    {
        string graph = Pipeline.From([1]).Transform(static x => x, new() { Name = "one", Placement = Placement.ChildProcess }).ForEach(static _ => { }, new() { Name = "two", Placement = Placement.ChildProcess, MaxDegreeOfParallelism = 2 }).Build().ToMermaid();

        Assert.Contains("s1[[\"one<br>transform<br>child process\"]]", graph, StringComparison.Ordinal);
        Assert.Contains("s2[[\"two<br>for-each ×2<br>child processes\"]]", graph, StringComparison.Ordinal);
    }

    private static Pipeline Drawn(ITargetBlock<DeadLetter<int>> dead, PipelineOptions? options = null) =>
        Pipeline.From([1, 2], new() { Name = "list" })
            .Transform(static x => x * x, new() { Name = "square", BoundedCapacity = 64, MaxDegreeOfParallelism = 2, Placement = Placement.Loopback, ErrorPolicy = ErrorPolicy.DeadLetter(dead) })
            .Broadcast(
                static b => b.ForEach(static _ => { }, new() { Name = "sum", BoundedCapacity = 1 }),
                static b => b.Named("audit").Optional().WhenFull(FullMode.DropOldest, 9).ForEach(static _ => { }))
            .Build(options);
}
