using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CrashProof;

/// <summary>A picture to decode.</summary>
internal sealed record Picture(int Number, Flaw Flaw, byte[] Bytes);

/// <summary>What decoding a picture does to the process.</summary>
internal enum Flaw
{
    None,
    StackOverflow,
    AccessViolation,
    FailFast,
    OutOfMemory,
}

/// <summary>A decoded picture.</summary>
internal sealed record Thumbnail(int Number, long Brightness, int ProcessId);

/// <summary>
/// Stands for a native library that cannot be trusted: some pictures take the whole process down, and after a while it takes it down by
/// itself, whatever the picture. In the process of the program any of these would end the program.
/// </summary>
internal static class FragileDecoder
{
    /// <summary>How many pictures one process survives.</summary>
    private const int Endurance = 90;

    private static int _decoded;

    public static Thumbnail Decode(Picture picture)
    {
        switch (picture.Flaw)
        {
            case Flaw.StackOverflow:
                RecurseForEver(0);
                break;
            case Flaw.AccessViolation:
                Marshal.WriteByte(unchecked((nint)0x7000_0000_0000), 1);
                break;
            case Flaw.FailFast:
                Environment.FailFast("The decoder's heap is corrupt.");
                break;
            case Flaw.OutOfMemory:
                FillMemory();
                break;
        }

        if (++_decoded > Endurance)
            Environment.FailFast("The decoder has had enough.");
        return new Thumbnail(picture.Number, picture.Bytes.Sum(static b => (long)b), Environment.ProcessId);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int RecurseForEver(int depth) => RecurseForEver(depth + 1) + RecurseForEver(depth + 2);

    private static void FillMemory()
    {
        List<byte[]> all = [];
        while (true)
            all.Add(new byte[1024 * 1024]);
    }
}
