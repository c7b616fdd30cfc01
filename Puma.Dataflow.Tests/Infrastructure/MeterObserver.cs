using System.Diagnostics.Metrics;

namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>Keeps the last measurements of one pipeline, and notes totals that fell.</summary>
internal sealed class MeterObserver : IDisposable
{
    private readonly MeterListener _listener = new();
    private readonly Dictionary<string, double> _last = [];
    private readonly string _pipeline;

    public MeterObserver(string pipeline, string? only = null)
    {
        _pipeline = pipeline;
        _listener.InstrumentPublished = (instrument, me) =>
        {
            if (only is null || instrument.Name == only)
                Enable(instrument, me);
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Note(instrument, value, tags));
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Note(instrument, value, tags));
        _listener.Start();
    }

    public List<string> Falls { get; } = [];

    public void Look() => _listener.RecordObservableInstruments();

    public double Of(string instrument, params string[] tags) =>
        TryGet(instrument, out double value, tags) ? value : throw new KeyNotFoundException($"No {Key(instrument, tags)} among {string.Join("; ", _last.Keys)}.");

    public bool TryGet(string instrument, out double value, params string[] tags) => _last.TryGetValue(Key(instrument, tags), out value);

    public void Dispose() => _listener.Dispose();

    /// <summary>Lets a listener hear all instruments of the library.</summary>
    public static void Enable(Instrument instrument, MeterListener listener)
    {
        if (instrument.Meter.Name == "Puma.Dataflow")
            listener.EnableMeasurementEvents(instrument);
    }

    private static string Key(string instrument, IEnumerable<string> tags) => $"{instrument}({string.Join(", ", tags)})";

    private void Note(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags[0].Value as string != _pipeline)
            return;
        string key = Key(instrument.Name, tags[1..].ToArray().Select(static t => (string)t.Value!));
        bool isTotal = instrument is ObservableCounter<long> or ObservableCounter<double>;
        if (isTotal && _last.TryGetValue(key, out double before) && value < before)
            Falls.Add($"{key} fell from {before} to {value}");
        _last[key] = value;
    }
}
