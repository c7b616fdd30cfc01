using System.IO.MemoryMappedFiles;
using System.Text;
using Puma.Dataflow.Isolation.Worker;

namespace Puma.Dataflow.Isolation;

/// <summary>
/// Memory shared by parent and child, for signs of life, the item in work, last words and the last of the log: what the child writes there outlives it, whatever ends it. Each field has one writer, the
/// child; what it says is a hint for reports and for the search for the guilty item, and nothing depends on it being right. It is mapped
/// from a file, which may be deleted once both have it, or on Windows, which deletes no file that is mapped, from one without a file.
/// </summary>
internal sealed unsafe class BlackBox : IWorkMark, IDisposable
{
    private const int RingAt = 16 * 1024;

    // More than a child has logged and its parent has not written at any moment; see LogSender.
    private const int Length = RingAt + (4 * 1024 * 1024);
    private const int BeatAt = 0, ItemAt = 8, TextLengthAt = 16, TextAt = 24;

    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _memory;

    private BlackBox(MemoryMappedFile file)
    {
        _file = file;
        try
        {
            _view = file.CreateViewAccessor(0, Length);
        }
        catch
        {
            file.Dispose();
            throw;
        }

        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _memory);
        Log = new LogRing(_memory + RingAt, Length - RingAt);
    }

    /// <summary>What was logged last.</summary>
    public LogRing Log { get; }

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
            return length is > 0 and <= RingAt - TextAt ? Encoding.UTF8.GetString(new ReadOnlySpan<byte>(_memory + TextAt, (int)length)) : "";
        }
    }

    /// <summary>Makes it. Its room is taken at once, so that a full disk is an error here and no crash later.</summary>
    /// <param name="name">A path; on Windows the name of a mapping.</param>
    public static BlackBox Create(string name)
    {
        if (OperatingSystem.IsWindows())
            return new BlackBox(MemoryMappedFile.CreateNew(name, Length));
        return Map(new FileStream(name, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.ReadWrite,
            Share = FileShare.ReadWrite,
            PreallocationSize = Length,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }));
    }

    public static BlackBox Open(string name) => OperatingSystem.IsWindows()
        ? new BlackBox(MemoryMappedFile.OpenExisting(name))
        : Map(new FileStream(name, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite));

    private static BlackBox Map(FileStream stream)
    {
        try
        {
            return new BlackBox(MemoryMappedFile.CreateFromFile(stream, mapName: null, Length, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: false));
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    public void Beat() => Volatile.Write(ref Field(BeatAt), Field(BeatAt) + 1);

    public void Begin(long number) => Volatile.Write(ref Field(ItemAt), number);

    public void End() => Volatile.Write(ref Field(ItemAt), 0);

    public void GiveUp(string reason)
    {
        SayLastWords(reason);
        Environment.FailFast(reason);
    }

    public void SayLastWords(string text)
    {
        Span<byte> target = new(_memory + TextAt, RingAt - TextAt);
        if (!Encoding.UTF8.TryGetBytes(text, target, out int written))
            written = Encoding.UTF8.GetBytes(text.AsSpan(0, Math.Min(text.Length, (RingAt - TextAt) / 4)), target);
        Volatile.Write(ref Field(TextLengthAt), written);
    }

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
