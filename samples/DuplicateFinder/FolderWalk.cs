using Puma.Dataflow;

namespace DuplicateFinder;

/// <summary>Where the walk begins.</summary>
internal sealed record FolderWalkOptions(string Folder);

/// <summary>
/// Emits every file below a folder. Symbolic links are not followed. A folder that cannot be listed is emitted with its problem,
/// so that the next stage can dead-letter it: a source has no items that could fail.
/// </summary>
internal sealed class FolderWalk(FolderWalkOptions options) : SourceRunnable<Found>
{
    private static readonly EnumerationOptions AllButLinks = new() { AttributesToSkip = FileAttributes.ReparsePoint, IgnoreInaccessible = false };

    private readonly Stack<string> _folders = new([options.Folder]);

    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        while (_folders.TryPop(out string? folder) && !stopToken.IsCancellationRequested)
            await ListAsync(folder, stopToken);
    }

    private async ValueTask ListAsync(string folder, CancellationToken stopToken)
    {
        try
        {
            foreach (FileSystemInfo entry in new DirectoryInfo(folder).EnumerateFileSystemInfos("*", AllButLinks))
            {
                if (stopToken.IsCancellationRequested)
                    return;
                if (entry is DirectoryInfo)
                    _folders.Push(entry.FullName);
                else
                    await EmitAsync(new Found(entry.FullName), stopToken);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            await EmitAsync(new Found(folder, error.Message), stopToken);
        }
    }
}
