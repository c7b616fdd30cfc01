namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>A small item of 32 bytes without references.</summary>
internal readonly record struct Reading(long Number, long Sensor, double Value, long Time);
