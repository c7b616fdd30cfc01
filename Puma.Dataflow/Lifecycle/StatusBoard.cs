namespace Puma.Dataflow.Lifecycle;

/// <summary>
/// What a stage and its instances have reported: the latest of each type and instance, and who reads on. Whoever reports never waits, and
/// nothing that a reader does reaches him. Any thread.
/// </summary>
internal sealed class StatusBoard
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly Dictionary<Type, Topic> _topics = [];
    private bool _isOver;

    /// <summary>Keeps a report and shows it to the readers; after the end it is too late.</summary>
    /// <param name="report">The report; its <see cref="StatusReport{T}.Dropped"/> says how many were dropped on their way before it.</param>
    public void Add<T>(StatusReport<T> report)
        where T : notnull
    {
        lock (_gate)
        {
            if (!_isOver)
                TopicLocked<T>().Add(report);
        }
    }

    /// <summary>The latest report of a type; null when there is none.</summary>
    /// <param name="instance">Whose; null for anyone's.</param>
    public StatusReport<T>? Latest<T>(int? instance)
        where T : notnull
    {
        lock (_gate)
            return _topics.TryGetValue(typeof(T), out Topic? topic) ? ((Topic<T>)topic).Latest(instance) : null;
    }

    /// <summary>Reads a type from here on: first what is kept of it, then what comes, until the end.</summary>
    /// <param name="capacity">How many reports wait to be read at most, beside what is kept now.</param>
    /// <param name="withChanges">Whether it begins with the former states of the stage, too.</param>
    public StatusReader<T> Read<T>(int capacity, bool withChanges)
        where T : notnull
    {
        lock (_gate)
        {
            Topic<T> topic = TopicLocked<T>();
            var reader = new StatusReader<T>(_gate, topic.Readers, topic.Kept(withChanges), capacity);
            if (_isOver)
                reader.EndLocked();
            else
                topic.Readers.Add(reader);
            return reader;
        }
    }

    /// <summary>Nothing more will be reported: the readers end when they have read what they hold.</summary>
    public void End()
    {
        lock (_gate)
        {
            _isOver = true;
            foreach (Topic topic in _topics.Values)
                topic.End();
        }
    }

    private Topic<T> TopicLocked<T>()
        where T : notnull
    {
        if (!_topics.TryGetValue(typeof(T), out Topic? topic))
            _topics.Add(typeof(T), topic = new Topic<T>());
        return (Topic<T>)topic;
    }

    // The lock of the board guards its topics.
    private abstract class Topic
    {
        public abstract void End();
    }

    /// <summary>What is known of one type: the latest report of each instance, the oldest first; of the stage's state the last changes.</summary>
    private sealed class Topic<T> : Topic
        where T : notnull
    {
        private const int MaxChanges = 64;

        // The first of the changes counts those before it that were forgotten.
        private readonly List<StatusReport<T>> _kept = [];

        public List<StatusReader<T>> Readers { get; } = [];

        public void Add(StatusReport<T> report)
        {
            if (report.Instance is not null)
            {
                for (int i = _kept.Count - 1; i >= 0; i--)
                {
                    if (_kept[i].Instance == report.Instance)
                        _kept.RemoveAt(i);
                }
            }
            else if (_kept.Count == MaxChanges)
            {
                _kept[1] = _kept[1] with { Dropped = _kept[0].Dropped + 1 };
                _kept.RemoveAt(0);
            }

            _kept.Add(report.Dropped == 0 ? report : report with { Dropped = 0 });
            foreach (StatusReader<T> reader in Readers)
                reader.AddLocked(report);
        }

        public StatusReport<T>? Latest(int? instance) => instance is null ? _kept.LastOrDefault() : _kept.Find(r => r.Instance == instance);

        /// <summary>What a new reader begins with.</summary>
        public Queue<StatusReport<T>> Kept(bool withChanges) => new(_kept.Where((r, i) => withChanges || r.Instance is not null || i == _kept.Count - 1));

        public override void End()
        {
            foreach (StatusReader<T> reader in Readers)
                reader.EndLocked();
            Readers.Clear();
        }
    }
}
