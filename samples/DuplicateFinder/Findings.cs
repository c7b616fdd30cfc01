using Puma.Dataflow;

namespace DuplicateFinder;

/// <summary>A group of files with the same content.</summary>
internal sealed record DuplicateGroup(long Size, List<string> Paths)
{
    /// <summary>What the files beyond the first one take.</summary>
    public long WastedBytes => Size * (Paths.Count - 1);
}

/// <summary>
/// What was found. Each method is called by one stage only, and so never by two threads at once; the numbers may be read at any time,
/// the lists when the run has ended.
/// </summary>
internal sealed class Findings
{
    private readonly Dictionary<string, DuplicateGroup> _groups = [];
    private readonly List<DeadLetter> _unreadable = [];
    private long _files;
    private long _bytes;
    private long _duplicateFiles;
    private long _wastedBytes;

    /// <summary>Files whose size is known.</summary>
    public long Files => Volatile.Read(ref _files);

    /// <summary>What these files take.</summary>
    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>Files beyond the first of each group.</summary>
    public long DuplicateFiles => Volatile.Read(ref _duplicateFiles);

    /// <summary>What these files take.</summary>
    public long WastedBytes => Volatile.Read(ref _wastedBytes);

    /// <summary>The groups, the most wasteful first. Only when the run has ended.</summary>
    public IReadOnlyCollection<DuplicateGroup> Groups => [.. _groups.Values.OrderByDescending(static g => g.WastedBytes).ThenBy(static g => g.Paths[0], StringComparer.Ordinal)];

    /// <summary>The files and folders that could not be read, and why. Only when the run has ended.</summary>
    public IReadOnlyCollection<DeadLetter> Unreadable => _unreadable;

    public void AddFile(SizedFile file)
    {
        Volatile.Write(ref _files, _files + 1);
        Volatile.Write(ref _bytes, _bytes + file.Size);
    }

    public void AddDuplicate(Duplicate duplicate)
    {
        if (!_groups.TryGetValue(duplicate.FirstPath, out DuplicateGroup? group))
            _groups.Add(duplicate.FirstPath, group = new DuplicateGroup(duplicate.Size, [duplicate.FirstPath]));
        group.Paths.Add(duplicate.Path);
        Volatile.Write(ref _duplicateFiles, _duplicateFiles + 1);
        Volatile.Write(ref _wastedBytes, _wastedBytes + duplicate.Size);
    }

    public void AddUnreadable(DeadLetter letter) => _unreadable.Add(letter);
}
