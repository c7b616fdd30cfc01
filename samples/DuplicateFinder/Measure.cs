namespace DuplicateFinder;

/// <summary>Looks up the size of a file.</summary>
internal static class Measure
{
    /// <exception cref="IOException">The file is gone, or the folder could not be listed.</exception>
    public static SizedFile SizeOf(Found found) =>
        found.Problem is null ? new SizedFile(found.Path, new FileInfo(found.Path).Length) : throw new IOException(found.Problem);
}
