using Puma.Dataflow;

namespace Camera;

/// <summary>What the owner of a run tells and asks the camera. The calls run on the camera's own stream, wherever it lives.</summary>
internal interface ICameraControl
{
    /// <returns>How many frames were played. There is no other before <see cref="ResumeAsync"/>.</returns>
    ValueTask<int> PauseAsync();

    /// <returns>How many frames were played before it goes on.</returns>
    ValueTask<int> ResumeAsync();

    /// <summary>Changes the rate, also while it is paused.</summary>
    ValueTask SetRateAsync(double framesPerSecond);

    /// <summary>Keeps the picture as it is now, until the still is disposed of.</summary>
    ValueTask<IStill> CaptureAsync();

    /// <summary>How bright each frame is, from the next one to the last.</summary>
    IAsyncEnumerable<Light> MeterAsync(CancellationToken cancellationToken = default);

    /// <summary>There are no further orders: the camera plays what is left, and ends.</summary>
    ValueTask FinishAsync();
}

/// <summary>A picture that stays with the camera. What is asked of it crosses to another process, its pixels do not.</summary>
[RemoteObject]
internal interface IStill : IAsyncDisposable
{
    ValueTask<byte> PixelAsync(int x, int y);

    ValueTask<double> BrightnessAsync();
}

/// <summary>What the camera is told when it is made: a value, copied to where it runs.</summary>
internal sealed record CameraOptions(int Frames);

/// <summary>A frame: its pixels, a byte each, row by row. The block is new, and belongs to whoever gets the frame.</summary>
internal sealed record Frame(int Number, byte[] Pixels);

/// <summary>How bright a frame was, from 0 to 255.</summary>
internal sealed record Light(int Frame, double Brightness);

/// <summary>What the camera reports.</summary>
internal sealed record CameraStatus(int Played, double FramesPerSecond, bool IsPaused);
