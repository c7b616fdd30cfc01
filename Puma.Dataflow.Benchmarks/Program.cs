using BenchmarkDotNet.Running;
using Puma.Dataflow.Benchmarks;
using Puma.Dataflow.Benchmarks.Compare;
using Puma.Dataflow.Benchmarks.Scenarios;

// compare: how fast a pipeline is beside the same work done with other means.
// control: how soon a flooded stage sees what it is told, and how fast its commands are. isolation: what a process border costs. chaos: whether anything is lost when children are killed.
// log: whether everything that children log is in the one log.
// leases: whether anything stays behind of objects that were lent and calls that were given up.
// scale: whether the cost of a pipeline grows with its size, and no faster.
// soak: whether any of many random graphs breaks a promise.
// Anything else goes to BenchmarkDotNet, for example: --filter '*Chain*'
switch (args)
{
    case ["compare", .. var rest]:
        return await CompareCommand.RunAsync(rest);
    case [PeerProcess.Argument, var role, var path]:
        return await PeerProcess.RunAsync(role, path);
    case ["control"]:
        return await ControlCommand.RunAsync();
    case ["isolation", "as-parent"]:
        return await IsolationCommand.RunParentAsync();
    case ["isolation"]:
        return await IsolationCommand.RunAsync();
    case ["chaos", .. var rest]:
        return await ChaosCommand.RunAsync(rest);
    case ["leases"]:
        await LeaseCommand.RunAsync();
        return 0;
    case ["log", .. var rest]:
        return await LogCommand.RunAsync(rest);
    case ["scale"]:
        return await ScaleCommand.RunAsync();
    case ["soak", .. var rest]:
        return await SoakCommand.RunAsync(rest);
    default:
        BenchmarkSwitcher.FromAssembly(typeof(ScaleCommand).Assembly).Run(args);
        return 0;
}
