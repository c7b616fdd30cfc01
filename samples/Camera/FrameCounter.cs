using Puma.Dataflow;

namespace Camera;

/// <summary>What the owner asks the counter.</summary>
internal interface IFrameCounter
{
    ValueTask<int> CountAsync();
}

/// <summary>How many frames have come.</summary>
internal sealed record Seen(int Frames);

/// <summary>Counts the frames. One that is missing, comes twice, too early or with wrong pixels faults the run.</summary>
internal sealed class FrameCounter : SinkRunnable<Frame>, IFrameCounter
{
    private int _frames;

    protected override ValueTask OnItemAsync(Frame item, CancellationToken cancellationToken)
    {
        if (item.Number != _frames + 1)
            throw new InvalidDataException($"Frame {item.Number} came after frame {_frames}.");
        if (!Picture.IsOf(item.Number, item.Pixels))
            throw new InvalidDataException($"Frame {item.Number} has the wrong pixels.");
        _frames++;
        ReportStatus(new Seen(_frames));
        return default;
    }

    public ValueTask<int> CountAsync() => new(_frames);
}
