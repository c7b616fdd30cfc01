namespace Puma.Dataflow;

/// <summary>One status of a stage.</summary>
/// <typeparam name="T">The type under which it was reported.</typeparam>
/// <param name="Value">What was reported.</param>
/// <param name="Instance">Which of the stage's instances reported it, counted from 0; null for the state of the stage itself.</param>
/// <param name="Time">When, by the clock of the pipeline; in a child process by the system's clock. Times of all processes of a machine can be compared.</param>
/// <param name="Dropped">In a stream: how many reports of the type were dropped before this one, because they came faster than they could be sent or read. Otherwise 0.</param>
public sealed record StatusReport<T>(T Value, int? Instance, DateTimeOffset Time, long Dropped = 0)
    where T : notnull;
