using BenchmarkDotNet.Running;

// Run one class: dotnet run -c Release --project Puma.Dataflow.Benchmarks -- --filter '*Name*'
BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
