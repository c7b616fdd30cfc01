using System.Globalization;
using System.Reflection;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>The tables of defaults say what the options are.</summary>
public sealed class DefaultsTests
{
    [Theory]
    [InlineData(typeof(StageOptions), "README.md")]
    [InlineData(typeof(PipelineOptions), "README.md")]
    [InlineData(typeof(ChildProcessPlacement), "docs/isolation.md")]
    [InlineData(typeof(WorkersOptions), "docs/workers.md")]
    public void Table_HasEveryOptionWithItsDefault(Type type, string page)
    {
        object options = type == typeof(ChildProcessPlacement) ? Placement.ChildProcess : Activator.CreateInstance(type)!;
        IEnumerable<string> real = type.GetProperties(BindingFlags.Public | BindingFlags.Instance)
            .Select(p => $"{p.Name} = {(p.Name == nameof(WorkersOptions.Count) ? "number of processors" : Show(p.GetValue(options)))}");

        IEnumerable<string> told = Repository.ReadTable(page, $"`{type.Name}`").Select(static row => $"{row[0].Trim('`')} = {row[1].Trim('`')}");

        Assert.Equal(real.Order(StringComparer.Ordinal), told.Order(StringComparer.Ordinal));
    }

    private static string Show(object? value) => value switch
    {
        null => "null",
        bool flag => flag ? "true" : "false",
        int number => number.ToString(CultureInfo.InvariantCulture),
        string text => $"\"{text}\"",
        TimeSpan time => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds} s"),
        Enum member => $"{member.GetType().Name}.{member}",
        _ when ReferenceEquals(value, ErrorPolicy.Fault) => "ErrorPolicy.Fault",
        _ when ReferenceEquals(value, Placement.InProcess) => "Placement.InProcess",
        _ when ReferenceEquals(value, LossPolicy.Fault) => "LossPolicy.Fault",
        System.Collections.ICollection { Count: 0 } => "empty",
        _ when ReferenceEquals(value, TimeProvider.System) => "TimeProvider.System",
        _ => throw new NotSupportedException($"No text for a default of type {value.GetType()}."),
    };
}
