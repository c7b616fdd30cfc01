using Puma.Dataflow;

namespace DuplicateFinder;

/// <summary>
/// Groups by size: lets only files pass whose size another file has too, because only those need to be read. The first file of each
/// size is kept until the second one comes.
/// </summary>
internal sealed class SameSize : Runnable<SizedFile, SizedFile>
{
    // The value is null when the first file of that size has been passed on.
    private readonly Dictionary<long, SizedFile?> _firstOfSize = [];

    protected override async ValueTask OnItemAsync(SizedFile item, CancellationToken cancellationToken)
    {
        if (_firstOfSize.TryAdd(item.Size, item))
            return;
        if (_firstOfSize[item.Size] is { } first)
        {
            _firstOfSize[item.Size] = null;
            await EmitAsync(first, cancellationToken);
        }

        await EmitAsync(item, cancellationToken);
    }
}
