using System.Diagnostics;
using Puma.Dataflow.Buffers;

namespace Puma.Dataflow.Lifecycle;

/// <summary>The links of one stage, taken together. They are set before the run starts; who may call what is said by <see cref="Link"/>.</summary>
internal sealed class StageLinks
{
    /// <summary>The links that a stage writes, and what went over those that it writes no more. Immutable.</summary>
    private sealed record OutputSet(Link[] Links, long SentBefore);

    // Replaced as a whole; once the stage runs, by its stream alone. Read by any thread.
    private volatile OutputSet _outputs = new([], 0);
    private bool? _isLossy;

    /// <summary>The links that the stage reads, by port.</summary>
    public Link[] Inputs { get; set; } = [];

    /// <summary>Whether a writer of the stage does anything else than wait when there is no slot: it must not find the stage asleep for long. Once the links are set.</summary>
    public bool IsLossy => _isLossy ??= Array.Exists(Inputs, static i => i.FullMode != FullMode.Wait);

    /// <summary>The links that the stage writes, by port. Those of a broadcast change while it runs.</summary>
    public Link[] Outputs { get => _outputs.Links; set => _outputs = new OutputSet(value, 0); }

    /// <summary>What was written to the outputs so far. Any thread.</summary>
    public long Emitted
    {
        get
        {
            OutputSet outputs = _outputs;
            return outputs.SentBefore + outputs.Links.Sum(static o => o.Counts.Sent);
        }
    }

    /// <summary>The link to the dead-letter stage, if the error policy has one. Not an output: it does not count as emitted.</summary>
    public Link? DeadLetters { get; set; }

    /// <summary>Whether there are outputs and no reader wants more. Any thread.</summary>
    public bool AreOutputsShut => Outputs.Length > 0 && Array.TrueForAll(Outputs, static o => o.IsShut);

    /// <summary>The worst end marker of the inputs that were read to their end.</summary>
    public EndMarker WorstInput() =>
        Inputs.Aggregate(EndMarker.Completed, static (worst, input) => input.End is { } end ? EndMarker.Worst(worst, end) : worst);

    /// <summary>Whether the inputs that ended so far are enough to end the stage. A failed or cancelled input never is by itself.</summary>
    public bool HaveInputsEnded(FanIn fanIn) => fanIn == FanIn.Any && Array.Exists(Inputs, static i => i.End is { Kind: EndKind.Completed })
        || Array.TrueForAll(Inputs, static i => i.End is not null);

    /// <summary>Writes one more link from now on. The stream only.</summary>
    public void AddOutput(Link link)
    {
        OutputSet outputs = _outputs;
        Debug.Assert(!outputs.Links.Contains(link), "A link is written once.");
        _outputs = outputs with { Links = [.. outputs.Links, link] };
    }

    /// <summary>Completes a link and writes it no more. The stream only.</summary>
    /// <returns>False when it was not written.</returns>
    public bool RemoveOutput(Link link)
    {
        OutputSet outputs = _outputs;
        if (!outputs.Links.Contains(link))
            return false;
        link.Complete(EndMarker.Completed);
        _outputs = new OutputSet([.. outputs.Links.Where(l => l != link)], outputs.SentBefore + link.Counts.Sent);
        return true;
    }

    /// <summary>Wakes the readers that sleep although there are values for them. Any thread, behind a full fence.</summary>
    public void SignalOutputs()
    {
        foreach (Link output in Outputs)
            output.Signal();
    }

    /// <summary>Wakes the writers that wait although slots are free. Any thread.</summary>
    public void FlushInputs()
    {
        foreach (Link input in Inputs)
            input.Flush();
    }

    /// <summary>Says that the stream is about to sleep; every write from then on wakes it. The stream only.</summary>
    /// <returns>False when something was written meanwhile: look again first.</returns>
    public bool TrySleep()
    {
        bool isQuiet = true;
        foreach (Link input in Inputs)
            input.AnnounceSleep();
        foreach (Link input in Inputs)
            isQuiet &= !input.HasNews();
        return isQuiet;
    }

    /// <summary>Lets nobody write to the stage any more. What is queued is for <see cref="Close"/>. Any thread.</summary>
    public void RefuseInputs()
    {
        foreach (Link input in Inputs)
            input.Refuse();
    }

    /// <summary>From here on nothing comes in and nothing goes out. Any thread; what is closed already stays as it is.</summary>
    /// <param name="reason">Why what is queued is discarded.</param>
    /// <param name="marker">How the outputs end.</param>
    /// <param name="deadLetterMarker">How the dead letters end.</param>
    public void Close(DiscardReason reason, EndMarker marker, EndMarker deadLetterMarker)
    {
        foreach (Link input in Inputs)
        {
            if (input.End is null)
                input.Shut(reason);
        }

        foreach (Link output in Outputs)
            output.Complete(marker);
        DeadLetters?.Complete(deadLetterMarker);
    }
}
