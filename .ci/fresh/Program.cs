// A program that knows nothing but the package: .ci/run copies it into an empty project outside the tree.
using Puma.Dataflow;

int sum = 0;
Pipeline pipeline = Pipeline.From([1, 2, 3])
    .Transform(x => x * 2)
    .ForEach(x => Interlocked.Add(ref sum, x))
    .Build();

await using PipelineRun run = pipeline.Start();
await run.Completion;
Console.WriteLine($"sum {sum}, state {run.Completion.Status}");
