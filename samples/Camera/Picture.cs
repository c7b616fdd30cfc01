namespace Camera;

/// <summary>The pictures of the recording: a white bar that moves to the right, on a ground that gets brighter.</summary>
internal static class Picture
{
    public const int Width = 640;
    public const int Height = 480;
    private const byte White = 255;

    public static byte[] Draw(int frame)
    {
        var pixels = new byte[Width * Height];
        pixels.AsSpan().Fill(GroundOf(frame));
        for (int y = 0; y < Height; y++)
            pixels[(y * Width) + BarOf(frame)] = White;
        return pixels;
    }

    /// <summary>Whether these are the pixels of that frame, all of them.</summary>
    public static bool IsOf(int frame, ReadOnlySpan<byte> pixels) => pixels.SequenceEqual(Draw(frame));

    public static double BrightnessOf(ReadOnlySpan<byte> pixels)
    {
        long sum = 0;
        foreach (byte pixel in pixels)
            sum += pixel;
        return (double)sum / pixels.Length;
    }

    /// <summary>The column of the bar.</summary>
    public static int BarOf(int frame) => frame % Width;

    private static byte GroundOf(int frame) => (byte)(frame % 200);
}
