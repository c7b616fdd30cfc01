using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Stages;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What a worker does with reports when its parent takes up none: it holds little, and its code does not wait.</summary>
public sealed class StatusSenderTests
{
    private const int Window = 256;

    [Fact] // S43
    public async Task AMillionReports_ToAParentThatTakesNone_WaitForNothing_AndTheLatestIsKept()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(RunnableStages.Items(null, static () => new Chatty()).Recipe!));
        parent.SendItem(1, 1_000_000);

        // The item is done although nothing was taken up.
        long mark = BitConverter.ToInt64((await parent.ReadAsync(FrameType.StatusMark)).Payload);
        await parent.ReadAsync(FrameType.Done);
        Assert.Equal(1_000_001, mark);

        await parent.HearAsync(FrameType.StatusType);
        for (int i = 1; i <= Window; i++)
            Assert.Equal((i, i, 0L), Read(await parent.HearAsync(FrameType.Status)));

        // Of each type the latest, in the order of reporting.
        parent.Say(FrameType.StatusTaken, Window);
        await parent.HearAsync(FrameType.StatusType);
        Assert.Equal((1_000_000, 1_000_000, 1_000_000L - Window - 1), Read(await parent.HearAsync(FrameType.Status)));
        WorkerParent.Heard text = await parent.HearAsync(FrameType.Status);
        Assert.Equal((1_000_001L, (ushort)1), (text.Number, text.Port));
        parent.SayEnd(RunState.Completed);
    }

    [Fact] // S43: nothing of what was reported comes after the end
    public async Task WhatWaits_IsSentBeforeTheEnd()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(WorkerParent.Record(RunnableStages.Items(null, static () => new Chatty()).Recipe!));
        parent.SendItem(1, Window + 10);
        await parent.ReadAsync(FrameType.StatusMark);
        await parent.ReadAsync(FrameType.Done);
        parent.SendData(FrameType.Complete);
        await parent.ReadAsync(FrameType.Completed);
        parent.SayEnd(RunState.Completed);

        await parent.HearAsync(FrameType.StatusType);
        for (int i = 1; i <= Window; i++)
            await parent.HearAsync(FrameType.Status);
        await parent.HearAsync(FrameType.StatusType);
        Assert.Equal((Window + 10, Window + 10, 9L), Read(await parent.HearAsync(FrameType.Status)));
        await parent.HearAsync(FrameType.Status);
        await parent.HearAsync(FrameType.Ended);
    }

    private static (long Number, int Value, long Dropped) Read(WorkerParent.Heard frame)
    {
        var fields = new FieldReader(new(frame.Payload));
        var record = StatusRecord.ReadFrom(ref fields);
        return (frame.Number, BitConverter.ToInt32(record.Value.FirstSpan), record.Dropped);
    }

    /// <summary>Reports all numbers up to its item, then a text.</summary>
    private sealed class Chatty : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            for (int i = 1; i <= item; i++)
                ReportStatus(i);
            ReportStatus("done");
            return default;
        }
    }
}
