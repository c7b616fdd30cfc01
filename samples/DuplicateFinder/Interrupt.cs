using Puma.Dataflow;

namespace DuplicateFinder;

/// <summary>Ctrl+C: the first one drains the run, the second one cancels it, the third one is the system's again.</summary>
internal sealed class Interrupt : IDisposable
{
    private readonly PipelineRun _run;
    private int _count;

    public Interrupt(PipelineRun run)
    {
        _run = run;
        Console.CancelKeyPress += OnCancelKey;
    }

    /// <summary>Whether the user wanted to see the end before it came.</summary>
    public bool HasStopped => Volatile.Read(ref _count) > 0;

    public void Dispose() => Console.CancelKeyPress -= OnCancelKey;

    private void OnCancelKey(object? sender, ConsoleCancelEventArgs e)
    {
        int count = Interlocked.Increment(ref _count);
        e.Cancel = count < 3;
        if (count == 1)
            _run.Complete();
        else if (count == 2)
            _run.Cancel();
    }
}
