namespace Puma.Dataflow.Tests;

public sealed class PlaceholderTests
{
    [Fact]
    public void The_test_project_runs() => Assert.Equal(4, 2 + 2);
}
