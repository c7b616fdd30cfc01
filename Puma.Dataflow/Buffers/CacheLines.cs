using System.Runtime.InteropServices;

namespace Puma.Dataflow.Buffers;

/// <summary>Room between what two threads write, so that neither waits for the other's cache line. Two lines, because processors fetch them in pairs.</summary>
[StructLayout(LayoutKind.Sequential, Size = 128)]
internal struct CacheLines;

/// <summary>The fields of a subclass come after some room; it keeps as much behind them.</summary>
internal abstract class OnOwnCacheLines
{
    public CacheLines Before { get; }
}
