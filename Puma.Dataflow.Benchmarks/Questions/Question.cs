using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>A question that is answered by a scenario: each subject is a row of the table.</summary>
[MemoryDiagnoser]
public abstract class Question
{
    private Scenario _scenario = null!;
    private Subject _subject = null!;

    /// <summary>Who does the work.</summary>
    public abstract string Subject { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        _scenario = Make();
        _subject = _scenario.Subjects.Single(s => s.Name == Subject);
    }

    private protected abstract Scenario Make();

    protected async Task<long> RunAsync()
    {
        long sum = await _subject.RunAsync(_scenario.Items, new Clock());
        return sum == _scenario.Checksum(_scenario.Items) ? sum : throw new InvalidOperationException($"{Subject} lost or changed an item.");
    }
}
