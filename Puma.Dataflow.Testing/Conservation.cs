using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Testing;

/// <summary>Checks that no item of a run was lost or counted twice.</summary>
public static class Conservation
{
    /// <summary>Checks that every accepted item of every stage has one fate, that every link's items were received or discarded, and that no capacity was exceeded.</summary>
    /// <param name="report">The report of a run that has ended.</param>
    /// <exception cref="ConservationException">An equation does not hold; the message has the numbers.</exception>
    /// <exception cref="ArgumentNullException"><paramref name="report"/> is null.</exception>
    public static void AssertConserved(this PipelineReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        IReadOnlyList<string> violations = ConservationLaw.Violations(report);
        if (violations.Count > 0)
            throw new ConservationException(string.Join(Environment.NewLine, violations) + Environment.NewLine + report);
    }
}

/// <summary>Items of a run were lost or counted twice.</summary>
/// <param name="message">The stages and links with their numbers.</param>
public sealed class ConservationException(string message) : Exception(message);
