using System.Globalization;
using System.IO.MemoryMappedFiles;
using System.Text;
using Puma.Dataflow.Isolation.Worker;

namespace Puma.Dataflow.Isolation;

/// <summary>
/// A small file mapped by parent and child: what the child writes there outlives it, whatever ends it. Each field has one writer, the
/// child; what it says is a hint for reports and for the search for the guilty item, and nothing depends on it being right.
/// </summary>
internal sealed unsafe class BlackBox : IWorkMark, IDisposable
{
    private const int Length = 16 * 1024;
    private const int BeatAt = 0, ItemAt = 8, AttemptAt = 16, TextLengthAt = 24, TextAt = 32;

    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _memory;

    private BlackBox(MemoryMappedFile file)
    {
        _file = file;
        _view = file.CreateViewAccessor(0, Length);
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _memory);
    }

    /// <summary>Counts the signs of life.</summary>
    public long Beats => Volatile.Read(ref Field(BeatAt));

    /// <summary>The number of the item in work; 0 when there is none.</summary>
    public long Item => Volatile.Read(ref Field(ItemAt));

    /// <summary>What the child said last before it ended itself; empty when it said nothing.</summary>
    public string LastWords
    {
        get
        {
            long length = Volatile.Read(ref Field(TextLengthAt));
            return length is > 0 and <= Length - TextAt ? Encoding.UTF8.GetString(new ReadOnlySpan<byte>(_memory + TextAt, (int)length)) : "";
        }
    }

    /// <summary>Makes the file. Its room is taken at once, so that a full disk is an error here and no crash later.</summary>
    public static BlackBox Create(string path)
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.ReadWrite, Share = FileShare.ReadWrite, PreallocationSize = Length };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        return Map(new FileStream(path, options));
    }

    public static BlackBox Open(string path) => Map(new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite));

    private static BlackBox Map(FileStream stream) =>
        new(MemoryMappedFile.CreateFromFile(stream, mapName: null, Length, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: false));

    public void Beat() => Volatile.Write(ref Field(BeatAt), Field(BeatAt) + 1);

    public void Begin(long number, int attempt)
    {
        Field(AttemptAt) = attempt;
        Volatile.Write(ref Field(ItemAt), number);
    }

    public void End() => Volatile.Write(ref Field(ItemAt), 0);

    public void GiveUp(string reason)
    {
        SayLastWords(reason);
        Environment.FailFast(reason);
    }

    public void SayLastWords(string text)
    {
        Span<byte> target = new(_memory + TextAt, Length - TextAt);
        if (!Encoding.UTF8.TryGetBytes(text, target, out int written))
            written = Encoding.UTF8.GetBytes(text.AsSpan(0, Math.Min(text.Length, (Length - TextAt) / 4)), target);
        Volatile.Write(ref Field(TextLengthAt), written);
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"item {Item}, attempt {Field(AttemptAt)}, {Beats} beats");

    public void Dispose()
    {
        if (_memory is null)
            return;
        _memory = null;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
    }

    private ref long Field(int offset) => ref *(long*)(_memory + offset);
}
