using System.Collections.Concurrent;
using System.Diagnostics;

namespace Puma.Dataflow.Diagnostics;

/// <summary>
/// The activities of one run: one for the run, and below it one for each stage, which is the current one in the stage's user code.
/// A listener that throws gets into no run.
/// </summary>
internal sealed class RunTrace
{
    public const string Name = "Puma.Dataflow";

    private static readonly ActivitySource Source = new(Name);

    private readonly Activity _run;
    private readonly string _pipeline;
    private readonly Action<Exception> _onFailure;

    // By the stage itself, because another may have its name already when it is told of the end. Filled when a stage starts, emptied when it ends.
    private readonly ConcurrentDictionary<object, Activity> _stages = [];

    private RunTrace(Activity run, string pipeline, Action<Exception> onFailure) => (_run, _pipeline, _onFailure) = (run, pipeline, onFailure);

    /// <summary>Begins the activity of a run, below the one that goes on at its start.</summary>
    /// <param name="pipeline">The name of the pipeline.</param>
    /// <param name="onFailure">Is told what a listener throws.</param>
    /// <returns>Null when nobody listens.</returns>
    public static RunTrace? Begin(string pipeline, Action<Exception> onFailure)
    {
        if (!Source.HasListeners())
            return null;
        Activity? around = Activity.Current;
        Activity? run = Start("puma.run", $"run {pipeline}", pipeline, [], onFailure);
        Activity.Current = around;
        return run is null ? null : new RunTrace(run, pipeline, onFailure);
    }

    /// <summary>Runs a stage inside of an activity of its own.</summary>
    /// <param name="stage">The stage, as it is named at its end.</param>
    /// <param name="name">Its name.</param>
    /// <param name="kind">Its kind.</param>
    /// <param name="body">Runs it.</param>
    public Task RunStageAsync(object stage, string name, string kind, Func<Task> body)
    {
        Activity? around = Activity.Current;
        Activity.Current = _run;
        if (Start("puma.stage", $"stage {name}", _pipeline, [new(TagNames.Stage, name), new(TagNames.Kind, kind)], _onFailure) is { } activity)
            _stages.TryAdd(stage, activity);
        Task running = Task.Run(body, CancellationToken.None);
        Activity.Current = around;
        return running;
    }

    /// <summary>Ends the activity of a stage. Any thread.</summary>
    /// <param name="stage">The stage.</param>
    /// <param name="report">Its last numbers.</param>
    /// <param name="cause">Its own failure, or the one that reached it.</param>
    public void EndStage(object stage, StageReport report, StageFaultedException? cause)
    {
        if (!_stages.TryRemove(stage, out Activity? activity))
            return;
        activity.SetTag(TagNames.Outcome, report.State.ToString());
        activity.SetTag(TagNames.EndReason, report.EndReason.ToString());
        foreach ((string fate, long count) in ((string, long)[])[
            ("accepted", report.Accepted), ("delivered", report.Delivered), ("skipped", report.Skipped), ("dead_lettered", report.DeadLettered),
            ("failed", report.Failed), ("discarded", report.Discarded), ("abandoned", report.Abandoned), ("emitted", report.Emitted)])
            activity.SetTag(TagNames.Items + fate, count);
        activity.SetTag(TagNames.Restarts, report.Restarts);

        // A failure that only reached the stage is told where it happened.
        Stop(activity, report.EndReason is EndReason.Failed or EndReason.Abandoned ? cause : null);
    }

    /// <summary>Ends the activity of the run, after those of all stages.</summary>
    public void End(PipelineReport report)
    {
        _run.SetTag(TagNames.Outcome, report.State.ToString());
        Stop(_run, report.Cause);
    }

    private static Activity? Start(string name, string displayName, string pipeline, ReadOnlySpan<KeyValuePair<string, object?>> tags, Action<Exception> onFailure)
    {
        try
        {
            Activity? activity = Source.StartActivity(name, ActivityKind.Internal, default(ActivityContext), [new(TagNames.Pipeline, pipeline), .. tags]);
            activity?.DisplayName = displayName;
            return activity;
        }
        catch (Exception error)
        {
            onFailure(error);
            return null;
        }
    }

    private void Stop(Activity activity, StageFaultedException? failure)
    {
        // Stopping sets the current activity, which here is somebody else's.
        Activity? around = Activity.Current;
        try
        {
            if (failure is not null)
            {
                Exception error = failure.InnerException ?? failure;
                activity.SetStatus(ActivityStatusCode.Error, failure.Message);
                activity.SetTag(TagNames.ErrorType, error is RemoteRunnableException remote ? remote.TypeName : error.GetType().FullName);

                // Asks the exception what it is, and the listener.
                activity.AddException(error);
            }
        }
        catch (Exception error)
        {
            _onFailure(error);
        }

        try
        {
            activity.Stop();
        }
        catch (Exception error)
        {
            _onFailure(error);
        }

        if (around != activity)
            Activity.Current = around;
    }
}
