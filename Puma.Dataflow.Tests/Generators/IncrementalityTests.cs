using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Puma.Dataflow.Generators;

namespace Puma.Dataflow.Tests.Generators;

/// <summary>What is typed elsewhere costs no new proxies.</summary>
public sealed class IncrementalityTests
{
    private const string Foo = "public interface IFoo { Task<int> M(string a); }";
    private const string Bar = "[ControlInterface] public interface IBar { Task M(IThing a); } [RemoteObject] public interface IThing : IAsyncDisposable;";
    private const string Bad = "[ControlInterface] public interface IBad { void M(); }";
    private const string User = """class C { object M(PipelineRun run) => run.Control<IFoo>("a"); }""";

    [Theory]
    [InlineData(0, "/* a comment */ " + Foo)]
    [InlineData(0, "public interface IFoo { Task<int> M(string a); } public class Other;")]
    [InlineData(0, "public interface IFoo { Task<int> M(string anotherName); }")]
    [InlineData(1, Bar + " public class Other { public int X => 1; }")]
    [InlineData(3, """class C { object M(PipelineRun run) { Console.WriteLine(); return run.Control<IFoo>("b"); } }""")]
    public void AnUnrelatedEdit_ReusesWhatWasGenerated(int file, string text)
    {
        GeneratorRunResult result = RunAfter(file, text);

        Assert.Equal(3, result.TrackedSteps[ControlProxyGenerator.ProxiesStep].Sum(static s => s.Outputs.Length));
        Assert.All(Reasons(result, ControlProxyGenerator.ProxiesStep), static r => Assert.Contains(r, NotNew));
        Assert.All(Reasons(result, ControlProxyGenerator.ProblemsStep), static r => Assert.Contains(r, NotNew));
        Assert.All(
            result.TrackedOutputSteps.SelectMany(static s => s.Value).SelectMany(static s => s.Outputs),
            static o => Assert.Equal(IncrementalStepRunReason.Cached, o.Reason));
    }

    [Fact]
    public void AnotherMember_MakesTheProxyOfItsInterfaceAnew_AndNoOther()
    {
        GeneratorRunResult result = RunAfter(0, "public interface IFoo { Task<int> M(string a); Task N(); }");

        (object value, IncrementalStepRunReason reason) = Assert.Single(
            result.TrackedSteps[ControlProxyGenerator.ProxiesStep].SelectMany(static s => s.Outputs), static o => !NotNew.Contains(o.Reason));
        Assert.Equal(IncrementalStepRunReason.Modified, reason);
        Assert.Equal("global::IFoo", ((ProxyModel)value).Interface);
        Assert.Contains("global::IFoo.N()", string.Concat(result.GeneratedSources.Select(static s => s.SourceText)), StringComparison.Ordinal);
    }

    [Fact]
    public void Models_KeepNoCompilationAlive()
    {
        var seen = new HashSet<Type>();

        Check(typeof(Findings), seen);

        Assert.Contains(typeof(ValueModel), seen);
    }

    private static IncrementalStepRunReason[] NotNew => [IncrementalStepRunReason.Cached, IncrementalStepRunReason.Unchanged];

    private static IEnumerable<IncrementalStepRunReason> Reasons(GeneratorRunResult result, string step) =>
        result.TrackedSteps[step].SelectMany(static s => s.Outputs).Select(static o => o.Reason);

    private static GeneratorRunResult RunAfter(int file, string text)
    {
        CSharpCompilation before = GeneratedCode.Compile(Foo, Bar, Bad, User);
        GeneratorDriver driver = GeneratedCode.CreateDriver().RunGenerators(before, TestContext.Current.CancellationToken);
        SyntaxTree old = before.SyntaxTrees[file];
        CSharpCompilation after = before.ReplaceSyntaxTree(old, old.WithChangedText(Microsoft.CodeAnalysis.Text.SourceText.From(text)));
        return driver.RunGenerators(after, TestContext.Current.CancellationToken).GetRunResult().Results.Single();
    }

    /// <summary>Everything that a model holds is a value of our own or a text, a number or a descriptor.</summary>
    private static void Check(Type type, HashSet<Type> seen)
    {
        if (!seen.Add(type))
            return;
        Assert.False(typeof(ISymbol).IsAssignableFrom(type) || typeof(SyntaxNode).IsAssignableFrom(type) || typeof(Location).IsAssignableFrom(type), $"{type} is kept.");
        foreach (Type argument in type.GetGenericArguments())
            Check(argument, seen);
        if (type.Assembly != typeof(Findings).Assembly)
            return;
        foreach (System.Reflection.FieldInfo field in type.GetFields(System.Reflection.BindingFlags.Instance | System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Public))
            Check(field.FieldType, seen);
    }
}
