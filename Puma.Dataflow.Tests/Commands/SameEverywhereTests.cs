using System.Globalization;
using System.Runtime.CompilerServices;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

/// <summary>What a machine can be told.</summary>
public interface IMachine
{
    /// <summary>Sets what items are multiplied by.</summary>
    /// <returns>What it was before.</returns>
    ValueTask<int> SetFactorAsync(int factor);

    ValueTask AddAsync(int value);

    Task<MachineState> StateAsync();

    IAsyncEnumerable<int> HistoryAsync(int most, CancellationToken cancellationToken = default);

    ValueTask FailAsync(string why);
}

public sealed record MachineState(int Factor, int Sum, IReadOnlyList<int> History);

/// <summary>What a machine does, without a pipeline: the reference.</summary>
public sealed class MachineModel
{
    private readonly List<int> _history = [];
    private int _factor = 1;
    private int _sum;

    public MachineState State => new(_factor, _sum, [.. _history]);

    /// <summary>Whether an item fails, after its outputs.</summary>
    public static bool Fails(int item) => item % 7 == 0;

    public string[] Handle(int item)
    {
        _history.Add(item);
        _sum += item;
        return [.. Enumerable.Range(0, item % 4).Select(i => string.Create(CultureInfo.InvariantCulture, $"{item * _factor}+{_sum}/{i}"))];
    }

    public int SetFactor(int factor)
    {
        int before = _factor;
        _factor = factor;
        return before;
    }

    public void Add(int value) => _sum += value;
}

/// <summary>A program that depends on its seed only has the same observable results wherever its stages live, and those of a reference without a pipeline.</summary>
public sealed class SameEverywhereTests : ChildTest
{
    private const int Steps = 30;

    /// <summary>From here on the kinds of steps that end a program.</summary>
    private const int EndSteps = 6;

    [Theory] // S18, S30, S35, S41, S42, Puma G24
    [InlineData("in process", 40)]
    [InlineData("own thread", 40)]
    [InlineData("loopback", 40)]
    [InlineData("child process", 4)]
    public async Task ARandomProgram_ItemsAndCommands_DoesWhatItsReferenceDoes(string place, int programs)
    {
        ExpectFailure();
        for (int seed = 1; seed <= programs; seed++)
        {
            var random = new Random(seed);
            Step[] program = [.. Enumerable.Range(0, Steps).Select(_ => new Step(random.Next(6), random.Next(1, 100))), new Step(random.Next(2) + EndSteps, 0)];
            List<string> expected = Reference(program);
            List<string> seen = await RunAsync(program, place);

            // Lines are compared as one text, so that a failure shows all of the program.
            Assert.Equal($"seed {seed}\n{string.Join('\n', expected)}", $"seed {seed}\n{string.Join('\n', seen)}");
        }
    }

    /// <summary>One thing that a program does.</summary>
    private readonly record struct Step(int Kind, int Value)
    {
        public IEnumerable<int> Items => Enumerable.Range(Value, 1 + (Value % 9));
    }

    private static List<string> Reference(Step[] program)
    {
        var model = new MachineModel();
        List<string> seen = [], outputs = [];
        int items = 0, failed = 0;
        foreach (Step step in program)
        {
            switch (step.Kind)
            {
                case 0 or 1:
                    foreach (int item in step.Items)
                    {
                        items++;
                        failed += MachineModel.Fails(item) ? 1 : 0;
                        outputs.AddRange(model.Handle(item).Select(static o => o + "!"));
                    }

                    break;
                case 2:
                    seen.Add(Show("factor was", model.SetFactor(step.Value)));
                    break;
                case 3:
                    model.Add(step.Value);
                    break;
                case 4:
                    seen.Add(Show(model.State));
                    seen.Add(Show("history", model.State.History.Take(step.Value)));
                    break;
                case 5:
                    seen.Add($"Threw FormatException no {step.Value}");
                    break;
                case EndSteps:
                    outputs.Add(Show(model.State) + "!");
                    seen.Add("Completed");
                    break;
                default:
                    seen.Add("Canceled");
                    break;
            }
        }

        seen.AddRange(outputs);
        seen.Add($"machine: {items} accepted, {items - failed} delivered, {failed} skipped, 0 discarded, {outputs.Count} emitted");
        seen.Add($"marker: {outputs.Count} accepted, {outputs.Count} delivered, 0 skipped, 0 discarded, {outputs.Count} emitted");
        seen.Add($"sink: {outputs.Count} accepted, {outputs.Count} delivered, 0 skipped, 0 discarded, 0 emitted");
        return seen;
    }

    private async Task<List<string>> RunAsync(Step[] program, string place)
    {
        List<string> seen = [], outputs = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(static () => new Machine(), Placed.At(place, "machine") with { ErrorPolicy = ErrorPolicy.Skip })
            .Then(static () => new Marker(), Placed.At(place, "marker") with { MaxDegreeOfParallelism = 2 })
            .ForEach(outputs.Add, new() { Name = "sink" }));
        IMachine machine = run.Control<IMachine>("machine");
        int sent = 0;
        foreach (Step step in program)
        {
            switch (step.Kind)
            {
                case 0 or 1:
                    foreach (int item in step.Items)
                        await run.SendAsync(item, TestToken);
                    sent += step.Items.Count();

                    // What follows is told when the items are through; otherwise it would be theirs to come first or not.
                    await UntilSettledAsync(run, sent);
                    break;
                case 2:
                    seen.Add(Show("factor was", await machine.SetFactorAsync(step.Value).AsTask().Within()));
                    break;
                case 3:
                    await machine.AddAsync(step.Value).AsTask().Within();
                    break;
                case 4:
                    seen.Add(Show(await machine.StateAsync().Within()));
                    seen.Add(Show("history", await machine.HistoryAsync(step.Value, TestToken).ToListAsync(TestToken)));
                    break;
                case 5:
                    CommandFailedException failure = await Assert.ThrowsAsync<CommandFailedException>(() => machine.FailAsync($"no {step.Value}").AsTask().Within());
                    seen.Add($"{failure.Failure} {(failure.IsCausedBy<FormatException>() ? nameof(FormatException) : "")} no {step.Value}");
                    Assert.Contains($"no {step.Value}", failure.Message, StringComparison.Ordinal);
                    break;
                case EndSteps:
                    run.Complete();
                    break;
                default:
                    run.Cancel();
                    break;
            }
        }

        PipelineReport report = await run.Report.Within();
        seen.Add(report.State.ToString());
        seen.AddRange(outputs);
        foreach (string name in (string[])["machine", "marker", "sink"])
        {
            StageReport s = report.Stage(name);
            seen.Add($"{name}: {s.Accepted} accepted, {s.Delivered} delivered, {s.Skipped} skipped, {s.Discarded} discarded, {s.Emitted} emitted");
        }

        return seen;
    }

    private static Task UntilSettledAsync(PipelineRun run, int sent) => Waiting.UntilAsync(
        () =>
        {
            PipelineSnapshot now = run.Snapshot();
            StageReport machine = now.Stage("machine"), marker = now.Stage("marker"), sink = now.Stage("sink");
            return machine.Delivered + machine.Skipped == sent && marker.Delivered == machine.Emitted && sink.Delivered == machine.Emitted;
        },
        $"{sent} items are through");

    private static string Show(MachineState state) => Show(string.Create(CultureInfo.InvariantCulture, $"factor {state.Factor} sum {state.Sum} history"), state.History);

    private static string Show(string what, IEnumerable<int> numbers) => $"{what} {string.Join(' ', numbers)}";

    private static string Show(string what, int number) => string.Create(CultureInfo.InvariantCulture, $"{what} {number}");

    private sealed class Machine : Runnable<int, string>, IMachine
    {
        private readonly MachineModel _model = new();

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            foreach (string output in _model.Handle(item))
                await EmitAsync(output, cancellationToken);
            if (MachineModel.Fails(item))
                throw new FormatException("a seventh item");
        }

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => EmitAsync(Show(_model.State), cancellationToken);

        public ValueTask<int> SetFactorAsync(int factor) => ValueTask.FromResult(_model.SetFactor(factor));

        public async ValueTask AddAsync(int value)
        {
            await Task.Yield();
            _model.Add(value);
        }

        public Task<MachineState> StateAsync() => Task.FromResult(_model.State);

        public async IAsyncEnumerable<int> HistoryAsync(int most, [EnumeratorCancellation] CancellationToken cancellationToken)
        {
            foreach (int item in _model.State.History.Take(most))
            {
                await Task.Yield();
                yield return item;
            }
        }

        public ValueTask FailAsync(string why) => throw new FormatException(why);
    }

    private sealed class Marker : Runnable<string, string>
    {
        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken) => EmitAsync(item + "!", cancellationToken);
    }
}
