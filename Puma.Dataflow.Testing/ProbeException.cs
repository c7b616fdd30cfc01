namespace Puma.Dataflow.Testing;

/// <summary>A probe or a log capture saw something else than the test expected.</summary>
/// <param name="message">What was expected and what came.</param>
public sealed class ProbeException(string message) : Exception(message);
