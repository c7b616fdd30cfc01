using System.Runtime.CompilerServices;
using Puma.Dataflow;

namespace Camera;

/// <summary>Plays a recording, one frame at each tick. Commands and ticks come one after the other, so there is no lock, and no frame after a pause.</summary>
internal sealed class PlaybackCamera(CameraOptions options) : SourceRunnable<Frame>, ICameraControl
{
    private TaskCompletionSource _nextFrame = NewSignal();
    private int _played;
    private double _brightness;
    private bool _hasOrders = true;

    protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
    {
        Report();
        return default;
    }

    // The body only waits: what happens, happens in ticks and commands, which run while it does.
    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        while (_hasOrders || _played < options.Frames)
            await WaitForControlAsync(stopToken);
    }

    protected override async ValueTask OnTickAsync(CancellationToken cancellationToken)
    {
        if (_played == options.Frames)
            return;
        var frame = new Frame(_played + 1, Picture.Draw(_played + 1));
        _brightness = Picture.BrightnessOf(frame.Pixels);
        await EmitAsync(frame, cancellationToken);
        _played++;

        (TaskCompletionSource signal, _nextFrame) = (_nextFrame, NewSignal());
        signal.SetResult();
        if (_played % 25 == 0)
            Report();
    }

    public ValueTask<int> PauseAsync()
    {
        Context.Ticks.Pause();
        Report();
        return new(_played);
    }

    public ValueTask<int> ResumeAsync()
    {
        Context.Ticks.Resume();
        Report();
        return new(_played);
    }

    public ValueTask SetRateAsync(double framesPerSecond)
    {
        Context.Ticks.Interval = TimeSpan.FromSeconds(1 / framesPerSecond);
        Report();
        return default;
    }

    public ValueTask<IStill> CaptureAsync() => new(new Still(Picture.Draw(_played)));

    // Runs on the camera's stream, too, but the wait for a frame does not hold it.
    public async IAsyncEnumerable<Light> MeterAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        while (_played < options.Frames)
        {
            await _nextFrame.Task.WaitAsync(cancellationToken);
            yield return new Light(_played, _brightness);
        }
    }

    public ValueTask FinishAsync()
    {
        _hasOrders = false;
        return default;
    }

    private void Report() => ReportStatus(new CameraStatus(_played, Math.Round(TimeSpan.FromSeconds(1) / Context.Ticks.Interval!.Value, 1), Context.Ticks.IsPaused));

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private sealed class Still(byte[] pixels) : IStill
    {
        public ValueTask<byte> PixelAsync(int x, int y) => new(pixels[(y * Picture.Width) + x]);

        public ValueTask<double> BrightnessAsync() => new(Picture.BrightnessOf(pixels));

        public ValueTask DisposeAsync() => default;
    }
}
