namespace DuplicateFinder;

/// <summary>Something in the folder: a file, or with a problem a folder that could not be listed.</summary>
internal sealed record Found(string Path, string? Problem = null);

/// <summary>A file and its size.</summary>
internal sealed record SizedFile(string Path, long Size);

/// <summary>A file, its size and the hash of its content.</summary>
internal sealed record HashedFile(string Path, long Size, string Hash);

/// <summary>A file with the content of one that came before it.</summary>
internal sealed record Duplicate(string FirstPath, string Path, long Size);
