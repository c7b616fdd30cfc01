using BenchmarkDotNet.Running;
using Puma.Dataflow.Benchmarks;

// control: how soon a flooded stage sees what it is told. Anything else goes to BenchmarkDotNet, for example: --filter '*Chain*'
if (args is ["control"])
    await ControlCommand.RunAsync();
else
    BenchmarkSwitcher.FromAssembly(typeof(ChainBenchmarks).Assembly).Run(args);
