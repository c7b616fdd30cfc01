using System.Buffers;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>
/// Sends what is reported in a child to its parent, in order, and no more than the parent has taken up; of what must wait the latest of
/// each type is kept and the others are counted. So it never waits, and holds little, however much is reported.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class StatusSender(FrameChannel control)
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly Dictionary<string, Topic> _topics = [];
    private readonly SendWindow _window = new(maxBytes: 512 * 1024, maxCount: 256);
    private readonly FieldWriter _fields = new();
    private bool _isOver;

    // The topics with a report that waits, by its number.
    private readonly List<Topic> _waiting = [];

    // Written inside of _gate.
    private long _number;

    /// <summary>How many reports there were.</summary>
    public long Number => Volatile.Read(ref _number);

    public void Send(string type, ReadOnlyMemory<byte> value, bool hasBlocks, long time)
    {
        lock (_gate)
        {
            if (_isOver)
                return;
            Topic topic = TopicLocked(type);
            if (topic.Report is not null)
            {
                // The latest one counts, and comes where it was reported.
                topic.Dropped++;
                _waiting.Remove(topic);
            }

            topic.Report = new Report(_number + 1, value, hasBlocks, time);
            Volatile.Write(ref _number, _number + 1);
            _waiting.Add(topic);
            SendWaitingLocked(withinWindow: true);
        }

        control.Flush();
    }

    /// <summary>The parent has taken up the reports up to this one.</summary>
    public void OnTaken(long number)
    {
        lock (_gate)
        {
            _window.OnTaken(number);
            SendWaitingLocked(withinWindow: true);
        }

        control.Flush();
    }

    /// <summary>Sends what waits, so that it arrives before what is said next.</summary>
    /// <param name="isLast">Whether nothing more is sent from then on.</param>
    public void SendAll(bool isLast)
    {
        lock (_gate)
        {
            SendWaitingLocked(withinWindow: false);
            _isOver = isLast;
        }
    }

    private Topic TopicLocked(string type)
    {
        if (_topics.TryGetValue(type, out Topic? topic))
            return topic;
        if (_topics.Count == StatusRecord.MaxTypes)
            throw new InvalidOperationException($"A runnable reports statuses of more than {StatusRecord.MaxTypes} types. Report values of one type that say what they are about.");
        topic = new Topic((ushort)_topics.Count);
        _topics.Add(type, topic);
        _fields.Clear();
        _fields.Text(type);
        control.Write(FrameType.StatusType, topic.Index, _fields.Written);
        return topic;
    }

    private void SendWaitingLocked(bool withinWindow)
    {
        int sent = 0;
        foreach (Topic topic in _waiting)
        {
            Report report = topic.Report!;
            if (withinWindow && !_window.HasRoomFor(report.Value.Length))
                break;
            _window.OnSent(report.Number, report.Value.Length);
            _fields.Clear();
            new StatusRecord(report.Time, topic.Dropped, new ReadOnlySequence<byte>(report.Value)).WriteTo(_fields);
            control.Write(FrameType.Status, report.Number, _fields.Written, topic.Index, flags: report.HasBlocks ? FrameFlags.HasBlocks : FrameFlags.None);
            (topic.Report, topic.Dropped) = (null, 0);
            sent++;
        }

        _waiting.RemoveRange(0, sent);
    }

    private sealed class Topic(ushort index)
    {
        public ushort Index => index;

        /// <summary>What waits.</summary>
        public Report? Report { get; set; }

        /// <summary>How many were dropped since the last one was sent.</summary>
        public long Dropped { get; set; }
    }

    private sealed record Report(long Number, ReadOnlyMemory<byte> Value, bool HasBlocks, long Time);
}
