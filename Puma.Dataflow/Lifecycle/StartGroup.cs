namespace Puma.Dataflow.Lifecycle;

/// <summary>The stages of a branch that joins a running pipeline: no source among them is read before all have started and the branch has joined. Any thread.</summary>
internal sealed class StartGroup(int stages)
{
    private readonly TaskCompletionSource _allReported = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _missing = stages;

    /// <summary>Ends when every stage has started, or will not.</summary>
    public Task AllReported => _allReported.Task;

    /// <summary>A stage has started, or will not. Called once by each stage.</summary>
    public void Report()
    {
        if (Interlocked.Decrement(ref _missing) == 0)
            _allReported.TrySetResult();
    }

    /// <summary>Lets the sources begin.</summary>
    public void Open() => _opened.TrySetResult();

    /// <summary>Waits until the sources may begin.</summary>
    public Task WaitUntilOpenAsync(CancellationToken cancellationToken) => _opened.Task.WaitAsync(cancellationToken);
}
