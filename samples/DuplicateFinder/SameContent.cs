using Puma.Dataflow;

namespace DuplicateFinder;

/// <summary>Groups by hash: emits each file whose content was seen before, together with the first file that had it.</summary>
internal sealed class SameContent : Runnable<HashedFile, Duplicate>
{
    private readonly Dictionary<(long Size, string Hash), string> _firstPaths = [];

    protected override ValueTask OnItemAsync(HashedFile item, CancellationToken cancellationToken) =>
        _firstPaths.TryAdd((item.Size, item.Hash), item.Path)
            ? default
            : EmitAsync(new Duplicate(_firstPaths[(item.Size, item.Hash)], item.Path, item.Size), cancellationToken);
}
