using System.Collections.Concurrent;
using System.Diagnostics;

namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>Listens to the activities of the runs of one pipeline, and keeps those that have stopped.</summary>
internal sealed class ActivityRecorder : IDisposable
{
    private readonly ActivityListener _listener;

    public ActivityRecorder(string pipeline, Action<Activity>? onStart = null, Action<Activity>? onStop = null)
    {
        _listener = new ActivityListener
        {
            ShouldListenTo = static source => source.Name == "Puma.Dataflow",
            Sample = (ref ActivityCreationOptions<ActivityContext> options) =>
                IsMine(options.Tags ?? []) ? ActivitySamplingResult.AllDataAndRecorded : ActivitySamplingResult.None,

            // Whoever listens to the source is told of what any listener has asked for.
            ActivityStarted = activity =>
            {
                if (IsMine(activity.TagObjects))
                    onStart?.Invoke(activity);
            },
            ActivityStopped = activity =>
            {
                if (!IsMine(activity.TagObjects))
                    return;
                Stopped.Enqueue(activity);
                onStop?.Invoke(activity);
            },
        };
        ActivitySource.AddActivityListener(_listener);

        bool IsMine(IEnumerable<KeyValuePair<string, object?>> tags) => tags.Any(t => t.Key == "puma.pipeline" && (string?)t.Value == pipeline);
    }

    public ConcurrentQueue<Activity> Stopped { get; } = [];

    public Activity Run => Assert.Single(Stopped, static a => a.OperationName == "puma.run");

    public Activity Stage(string name) => Assert.Single(Stopped, a => a.OperationName == "puma.stage" && (string?)a.GetTagItem("puma.stage") == name);

    public void Dispose() => _listener.Dispose();
}
