using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Logging;
using Puma.Dataflow.Logging.Forwarding;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;
using LogRecord = Puma.Dataflow.Isolation.Protocol.LogRecord;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What a child's log says of records that died with it, with the test in the child's place.</summary>
public sealed class LostLogTests
{
    private const int Count = 300;

    [Theory]
    [InlineData(Count)] // all had arrived
    [InlineData(10)]
    [InlineData(0)]
    public async Task RecordsThatNeitherArrivedNorHadRoomInTheBlackBox_AreTold(int arrived)
    {
        using var log = new LogRecorder();
        var child = new ChildLog(LogSink.Of(log), log.CreateLogger("events"), "stage", "category", static error => Assert.Fail(error.Message));
        (DuplexStream near, DuplexStream far) = DuplexStream.CreatePair();
        await using DuplexStream parent = far;
        await using var control = new FrameChannel(near, FrameFormat.MaxControl, static () => { });
        List<LogRecord> records = [.. Enumerable.Range(1, Count).Select(static n => new LogRecord { Level = LogLevel.Error, Category = "lost", Time = n, Message = new string('x', 1000) })];

        for (int i = 0; i < arrived; i++)
            child.Add(i + 1, records[i]);
        child.Recover(number => SendAll(control, records, number));
        await child.DisposeAsync().Within();

        int written = log.Records.Count(static r => r.Category == "lost");
        Assert.Equal(arrived < Count, written < Count);
        Assert.InRange(written, Math.Max(arrived, 50), Count);
        Assert.Equal(
            written == Count ? [] : [$"Stage 'stage': {Count - written} log records of level Error were lost with its child process, in which more waited to be written than outlives it"],
            log.Records.Where(static r => r.EventId.Id == 46).Select(static r => r.Message));
    }

    /// <returns>What is left when the sender is gone.</returns>
    private static unsafe LastLog SendAll(FrameChannel control, List<LogRecord> records, long number)
    {
        fixed (byte* start = new byte[64 * 1024])
        {
            var ring = new LogRing(start, 64 * 1024);
            var sender = new LogSender(control, ring);
            records.ForEach(sender.Send);
            return LastLog.After(number, ring);
        }
    }
}
