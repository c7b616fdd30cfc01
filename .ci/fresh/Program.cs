// A program that knows nothing but the package: .ci/run copies it into an empty project outside the tree.
using Puma.Dataflow;

int sum = 0;
await using PipelineRun<int> run = Pipeline.Accept<int>()
    .Then(static () => new Scale(), new() { Name = "scale" })
    .ForEach(x => Interlocked.Add(ref sum, x))
    .Build()
    .Start();

// The package brings the generator that makes this proxy.
IScaleControl scale = run.Control<IScaleControl>("scale");
await scale.SetFactorAsync(2);
foreach (int x in (int[])[1, 2, 3])
    await run.SendAsync(x);
int factor = await scale.GetFactorAsync();
run.Complete();
await run.Completion;
Console.WriteLine($"sum {sum}, factor {factor}, state {run.Completion.Status}");

internal interface IScaleControl
{
    Task SetFactorAsync(int factor, CancellationToken cancellationToken = default);

    ValueTask<int> GetFactorAsync();
}

internal sealed class Scale : Runnable<int, int>, IScaleControl
{
    private int _factor = 1;

    public Task SetFactorAsync(int factor, CancellationToken cancellationToken)
    {
        _factor = factor;
        return Task.CompletedTask;
    }

    public ValueTask<int> GetFactorAsync() => new(_factor);

    protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item * _factor, cancellationToken);
}
