using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;
using Puma.Dataflow;

namespace Snippets;

#region control-interface
public interface ISmootherControl
{
    ValueTask SetWindowAsync(int readings, CancellationToken cancellationToken = default);

    ValueTask<double> MeanAsync(CancellationToken cancellationToken = default);
}
#endregion

#region control-runnable
public sealed class Smoother : Runnable<double, double>, ISmootherControl
{
    private readonly Queue<double> _readings = [];
    private int _window = 10;

    protected override ValueTask OnItemAsync(double item, CancellationToken cancellationToken)
    {
        _readings.Enqueue(item);
        Trim();
        return EmitAsync(_readings.Average(), cancellationToken);
    }

    public ValueTask SetWindowAsync(int readings, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(readings);
        _window = readings;
        Trim();
        return default;
    }

    public ValueTask<double> MeanAsync(CancellationToken cancellationToken) => new(_readings.DefaultIfEmpty().Average());

    private void Trim()
    {
        while (_readings.Count > _window)
            _readings.Dequeue();
    }
}
#endregion

public interface ISensorControl
{
    ValueTask PauseAsync();

    ValueTask ResumeAsync();
}

#region control-source
public sealed class Sensor : SourceRunnable<double>, ISensorControl
{
    private bool _isPaused;

    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        for (int n = 0; n < 1000; n++)
        {
            while (_isPaused)
                await WaitForControlAsync(stopToken);
            await EmitAsync(20 + Math.Sin(n), stopToken);
        }
    }

    public ValueTask PauseAsync()
    {
        _isPaused = true;
        return default;
    }

    public ValueTask ResumeAsync()
    {
        _isPaused = false;
        return default;
    }
}
#endregion

#region control-station
public interface IStationControl
{
    IAsyncEnumerable<int> WatchCountAsync(CancellationToken cancellationToken = default);

    ValueTask<IRecording> RecordAsync(string title);

    ValueTask SetAlarmAsync(double limit, IAlarm alarm);

    ValueTask<long> ClockAsync();
}

[RemoteObject]
public interface IRecording : IAsyncDisposable
{
    ValueTask<double> MaximumAsync();
}

[RemoteObject]
public interface IAlarm : IAsyncDisposable
{
    ValueTask RaiseAsync(double reading);
}
#endregion

#region control-station-runnable
public sealed class Station : SinkRunnable<double>, IStationControl
{
    private readonly List<Recording> _recordings = [];
    private TaskCompletionSource _changed = new();
    private (double Limit, IAlarm Object)? _alarm;
    private int _count;

    protected override async ValueTask OnItemAsync(double item, CancellationToken cancellationToken)
    {
        _count++;
        foreach (Recording recording in _recordings)
            recording.Maximum = Math.Max(recording.Maximum, item);
        if (_alarm is { } alarm && item > alarm.Limit)
            await alarm.Object.RaiseAsync(item); // runs where the owner is
        TaskCompletionSource changed = _changed;
        _changed = new();
        changed.SetResult();
    }

    public async IAsyncEnumerable<int> WatchCountAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed = _changed.Task;
            yield return _count;
            await changed.WaitAsync(cancellationToken); // items and calls have their turn meanwhile
        }
    }

    public ValueTask<IRecording> RecordAsync(string title)
    {
        var recording = new Recording(this, title);
        _recordings.Add(recording);
        return new(recording);
    }

    public ValueTask SetAlarmAsync(double limit, IAlarm alarm)
    {
        _alarm = (limit, alarm);
        return default;
    }

    public ValueTask<long> ClockAsync() => new(Context.TimeProvider.GetTimestamp());

    private sealed class Recording(Station station, string title) : IRecording
    {
        public double Maximum { get; set; }

        public ValueTask<double> MaximumAsync() => new(Maximum);

        // On the stream of the station, when its user is done or gone.
        public ValueTask DisposeAsync()
        {
            station._recordings.Remove(this);
            station.Context.Logger.LogInformation("{Title}: at most {Maximum}", title, Maximum);
            return default;
        }
    }
}
#endregion

internal static class ControlSnippets
{
    public static async Task RunAsync()
    {
        await CommandsAsync();
        await PoolAsync();
        await SourceAsync();
        await StationAsync(Placement.Loopback);
        await StationAsync(Placement.ChildProcess);
    }

    private static async Task CommandsAsync()
    {
        var smoothed = new TaskCompletionSource();
        await using PipelineRun<double> run = Pipeline.Accept<double>()
            .Then(static () => new Smoother(), new() { Name = "smooth", Placement = Placement.Loopback })
            .ForEach(_ => smoothed.SetResult())
        #region control-options
            .Build(new() { CallTimeout = TimeSpan.FromSeconds(30), SlowCallWarning = TimeSpan.FromSeconds(5), ChattyCallWarning = 1000 })
        #endregion
            .Start();
        await run.SendAsync(3);
        await smoothed.Task;
        CancellationToken cancellationToken = CancellationToken.None;

        #region control-call
        ISmootherControl smoother = run.Control<ISmootherControl>("smooth");
        await smoother.SetWindowAsync(50, cancellationToken);
        double mean = await smoother.MeanAsync(cancellationToken);
        #endregion

        Check.That(mean == 3);

        #region control-failure
        try
        {
            await smoother.SetWindowAsync(-1, cancellationToken);
        }
        catch (CommandFailedException failure) when (failure.IsCausedBy<ArgumentException>())
        {
            Console.WriteLine(failure.Message); // ISmootherControl.SetWindowAsync of stage 'smooth' failed in process 4711. ArgumentOutOfRangeException: …
        }
        #endregion

        run.Complete();
        await run.Completion;
    }

    private static async Task PoolAsync()
    {
        await using PipelineRun<double> run = Pipeline.Accept<double>()
            .Then(static () => new Smoother(), new() { Name = "smooth", MaxDegreeOfParallelism = 4 })
            .ForEach(static _ => { })
            .Build()
            .Start();
        for (int i = 0; i < 8; i++)
            await run.SendAsync(1);

        #region control-pool
        await run.Control<ISmootherControl>("smooth").SetWindowAsync(20); // all four, side by side
        await run.Control<ISmootherControl>("smooth", instance: 2).SetWindowAsync(30);
        #endregion

        run.Complete();
        await run.Completion;
    }

    private static async Task SourceAsync()
    {
        List<double> seen = [];
        await using PipelineRun run = Pipeline.From(static () => new Sensor(), new() { Name = "sensor" }).ForEach(seen.Add).Build().Start();
        ISensorControl sensor = run.Control<ISensorControl>("sensor");
        await sensor.PauseAsync();
        await sensor.ResumeAsync();
        await run.Completion;
        Check.That(seen.Count == 1000);
    }

    private static async Task StationAsync(Placement placement)
    {
        await using PipelineRun<double> run = Pipeline.Accept<double>()
            .To(static () => new Station(), new() { Name = "station", Placement = placement, TickInterval = TimeSpan.FromHours(1) })
            .Build()
            .Start();
        using var output = new StringWriter();
        IStationControl station = run.Control<IStationControl>("station");
        Task sending = SendAsync();

        #region control-stream
        await foreach (int count in station.WatchCountAsync())
        {
            output.WriteLine(count);
            if (count == 3)
                break; // ends the enumeration where it runs, too
        }
        #endregion

        await sending;

        #region control-remote
        await using (IRecording recording = await station.RecordAsync("noon"))
        {
            await run.SendAsync(21.5);
            await run.SendAsync(19);
            output.WriteLine(await recording.MaximumAsync());
        }
        #endregion

        #region control-given
        var bell = new Bell();
        await station.SetAlarmAsync(limit: 30, bell);
        await run.SendAsync(31);
        Console.WriteLine(await bell.Rung);
        #endregion

        #region control-ticks
        ITickControl ticks = run.Stage("station").Ticks;
        await ticks.PauseAsync();
        await ticks.SetIntervalAsync(TimeSpan.FromSeconds(2));
        await ticks.ResumeAsync(); // the next tick comes in two seconds
        #endregion

        #region control-clock
        long here = TimeProvider.System.GetTimestamp();
        long there = await station.ClockAsync();
        TimeSpan underWay = TimeProvider.System.GetElapsedTime(here, there);
        #endregion

        Check.That(underWay >= TimeSpan.Zero && underWay < TimeSpan.FromMinutes(1));
        run.Complete();
        await run.Completion;

        async Task SendAsync()
        {
            for (int i = 0; i < 3; i++)
                await run.SendAsync(i);
        }
    }

    #region control-given-object
    private sealed class Bell : IAlarm
    {
        private readonly TaskCompletionSource<double> _rung = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<double> Rung => _rung.Task;

        public ValueTask RaiseAsync(double reading)
        {
            _rung.TrySetResult(reading);
            return default;
        }

        public ValueTask DisposeAsync() => default; // never called by the library: the bell is yours
    }
    #endregion
}
