using System.Globalization;
using Microsoft.CodeAnalysis;
using Puma.Dataflow.Generators;

namespace Puma.Dataflow.Tests.Generators;

/// <summary>What cannot be a control interface is refused where it stands, with what to do instead.</summary>
public sealed class DiagnosticTests
{
    /// <summary>The place is between the brackets ⟦ and ⟧.</summary>
    public static TheoryData<string, string, string> Interfaces => new()
    {
        { "PUMA002", "class C { [ControlInterface] private interface ⟦IFoo⟧; }", "Generated code cannot reach 'C.IFoo': make it and every type that contains it public or internal, and none of them file-local" },
        { "PUMA002", "class C { private class D { [ControlInterface] public interface ⟦IFoo⟧; } }", "Generated code cannot reach 'C.D.IFoo'" },
        { "PUMA002", "[ControlInterface] file interface ⟦IFoo⟧;", "Generated code cannot reach 'IFoo'" },
        { "PUMA002", "[ControlInterface] public interface IFoo { protected Task ⟦M⟧(); }", "Generated code cannot reach 'IFoo.M()'" },
        { "PUMA003", "[ControlInterface] public interface ⟦IFoo⟧<T>;", "'IFoo<T>' is generic: remove [ControlInterface], and name it with its type arguments in a call of PipelineRun.Control, or mark an interface that derives from it" },
        { "PUMA003", "public class C<T> { [ControlInterface] public interface ⟦IFoo⟧; }", "'C<T>.IFoo' is generic" },
        { "PUMA004", "[ControlInterface] public interface IFoo { int ⟦P⟧ { get; set; } }", "'IFoo.P' is a property: replace it by methods that return Task or ValueTask" },
        { "PUMA004", "[ControlInterface] public interface IFoo { int ⟦P⟧ => 1; }", "'IFoo.P' is a property" },
        { "PUMA004", "[ControlInterface] public interface IFoo { event Action ⟦E⟧; }", "'IFoo.E' is an event" },
        { "PUMA004", "[ControlInterface] public interface IFoo { int ⟦this⟧[int a] { get; } }", "'IFoo.this[int]' is an indexer" },
        { "PUMA005", "[ControlInterface] public interface IFoo { Task ⟦M⟧<T>(T a); }", "'IFoo.M<T>(T)' is generic: write one method for each type, or make the interface generic" },
        { "PUMA006", "[ControlInterface] public interface IFoo { void ⟦M⟧(); }", "'IFoo.M()' returns 'void', but the answer may come from another process: return Task or ValueTask, with the result as their type argument, or IAsyncEnumerable<T>" },
        { "PUMA006", "[ControlInterface] public interface IFoo { int ⟦M⟧(); }", "'IFoo.M()' returns 'int'" },
        { "PUMA006", "[ControlInterface] public interface IFoo { ValueTask? ⟦M⟧(); }", "'IFoo.M()' returns 'ValueTask?'" },
        { "PUMA006", "[ControlInterface] public interface IFoo { ref Task ⟦M⟧(); }", "M()' returns 'Task'" },
        { "PUMA006", "[ControlInterface] public interface ⟦IFoo⟧ : IEnumerable<int>;", "'IEnumerable<int>.GetEnumerator()' returns 'IEnumerator<int>'" },
        { "PUMA007", "[ControlInterface] public interface IFoo { Task M(ref int ⟦a⟧); }", "Parameter 'a' of 'IFoo.M(ref int)' is passed by reference, which cannot leave its process: pass a value, and return what has changed" },
        { "PUMA007", "[ControlInterface] public interface IFoo { Task M(out int ⟦a⟧); }", "is passed by reference" },
        { "PUMA007", "[ControlInterface] public interface IFoo { Task M(in int ⟦a⟧); }", "is passed by reference" },
        { "PUMA007", "[ControlInterface] public interface IFoo { Task M(ref readonly int ⟦a⟧); }", "is passed by reference" },
        { "PUMA007", "[ControlInterface] public unsafe interface IFoo { Task M(int* ⟦a⟧); }", "is a pointer" },
        { "PUMA007", "[ControlInterface] public unsafe interface IFoo { Task M(int*[] ⟦a⟧); }", "is a pointer" },
        { "PUMA007", "[ControlInterface] public unsafe interface IFoo { Task M(delegate*<void> ⟦a⟧); }", "is a pointer" },
        { "PUMA007", "[ControlInterface] public unsafe interface IFoo { Task<int*[]> ⟦M⟧(); }", "The result of 'IFoo.M()' is a pointer, which cannot leave its process" },
        { "PUMA007", "[ControlInterface] public unsafe interface IFoo { ValueTask<(int, List<delegate*<void>[]>)> ⟦M⟧(); }", "is a pointer" },
        { "PUMA007", "[ControlInterface] public unsafe interface IFoo { IAsyncEnumerable<void*[]?> ⟦M⟧(); }", "is a pointer" },
        { "PUMA007", "[ControlInterface] public unsafe interface IFoo : IBar<int*[]>; public interface IBar<T> { Task ⟦M⟧(); }", "The type argument of 'IBar<int*[]>' is a pointer" },
        { "PUMA007", "public interface ⟦IFoo⟧<T>; unsafe class C { object M(PipelineRun run) => run.Control<IFoo<int*[]>>(\"a\"); }", "The type argument of 'IFoo<int*[]>' is a pointer" },
        { "PUMA007", "[ControlInterface] public interface IFoo { Task M(ReadOnlySpan<int> ⟦a⟧); }", "is a ref struct" },
        { "PUMA007", "[ControlInterface] public interface IFoo { Task M(params Span<int> ⟦a⟧); }", "is a ref struct" },
        { "PUMA008", "[ControlInterface] public interface IFoo { Task ⟦M⟧(CancellationToken a, CancellationToken b); }", "'IFoo.M(CancellationToken, CancellationToken)' has several parameters of type CancellationToken: keep one, and link the tokens where it is called" },
        { "PUMA009", "[ControlInterface] public interface IFoo { static abstract Task ⟦M⟧(); }", "'IFoo.M()' is static and abstract, so no proxy can stand in for it: make it an instance method, or move it to another interface" },
        { "PUMA009", "[ControlInterface] public interface IFoo { static abstract int ⟦P⟧ { get; } }", "'IFoo.P' is static and abstract" },
        { "PUMA010", "[RemoteObject] public interface ⟦IFoo⟧;", "'IFoo' is marked with [RemoteObject]: derive it from IAsyncDisposable and not from IDisposable, so that DisposeAsync ends its lease" },
        { "PUMA010", "[RemoteObject] public interface ⟦IFoo⟧ : IAsyncDisposable, IDisposable;", "'IFoo' is marked with [RemoteObject]" },
        { "PUMA010", "public interface IFoo { Task M(IBar a); } [RemoteObject] public interface ⟦IBar⟧; class C { IFoo M(PipelineRun run) => run.Control<IFoo>(\"a\"); }", "'IBar' is marked with [RemoteObject]" },
        { "PUMA011", "[ControlInterface] public interface ⟦IFoo⟧ : IDisposable;", "'IFoo' derives from 'IDisposable', but what it controls belongs to the run: remove that base, or mark 'IFoo' with [RemoteObject] if its objects are given and taken by control methods" },
        { "PUMA011", "[ControlInterface] public interface ⟦IFoo⟧ : IAsyncDisposable;", "'IFoo' derives from 'IAsyncDisposable'" },
        { "PUMA012", "[ControlInterface] public interface IFoo { Task M(IAsyncEnumerable<int> ⟦a⟧); }", "'IFoo.M(IAsyncEnumerable<int>)' has an IAsyncEnumerable<T> in a parameter or in a result: send the values by calls of a method, or return IAsyncEnumerable<T> itself" },
        { "PUMA012", "[ControlInterface] public interface IFoo { Task M(List<IAsyncEnumerable<int>> ⟦a⟧); }", "has an IAsyncEnumerable<T>" },
        { "PUMA012", "[ControlInterface] public interface IFoo { Task<IAsyncEnumerable<int>> ⟦M⟧(); }", "has an IAsyncEnumerable<T>" },
        { "PUMA013", "[ControlInterface] public interface IFoo { IAsyncEnumerable<IBar?> ⟦M⟧(); } [RemoteObject] public interface IBar : IAsyncDisposable;", "'IFoo.M()' yields remote objects of type 'IBar?': yield their keys, and return the object of a key from a method of its own" },
        { "PUMA014", "[ControlInterface] public interface IFoo { Task M(Func<int> ⟦a⟧); }", "'IFoo.M(Func<int>)' has the delegate or expression 'Func<int>' in a parameter or in its result: pass an object whose interface is marked with [RemoteObject]" },
        { "PUMA014", "[ControlInterface] public interface IFoo { Task<Action?> ⟦M⟧(); }", "has the delegate or expression 'Action?'" },
        { "PUMA014", "[ControlInterface] public interface IFoo { Task M((int, Delegate) ⟦a⟧); }", "has the delegate or expression 'Delegate'" },
        { "PUMA014", "[ControlInterface] public interface IFoo { Task M(System.Linq.Expressions.Expression<Func<int>> ⟦a⟧); }", "has the delegate or expression 'Expression<Func<int>>'" },
        { "PUMA014", "[ControlInterface] public interface IFoo { IAsyncEnumerable<Action> ⟦M⟧(); }", "has the delegate or expression 'Action'" },
        { "PUMA015", "[ControlInterface] public interface IFoo { Task M(List<IBar> ⟦a⟧); } [RemoteObject] public interface IBar : IAsyncDisposable;", "'IFoo.M(List<IBar>)' has the remote object 'IBar' inside of 'List<IBar>': make it a parameter or a result of its own" },
        { "PUMA015", "[ControlInterface] public interface IFoo { Task M(params IBar[] ⟦a⟧); } [RemoteObject] public interface IBar : IAsyncDisposable;", "inside of 'IBar[]'" },
        { "PUMA015", "[ControlInterface] public interface IFoo { Task<(int, IBar)> ⟦M⟧(); } [RemoteObject] public interface IBar : IAsyncDisposable;", "inside of '(int, IBar)'" },
        { "PUMA015", "[ControlInterface] public interface IFoo { IAsyncEnumerable<IBar[]> ⟦M⟧(); } [RemoteObject] public interface IBar : IAsyncDisposable;", "inside of 'IBar[]'" },
        { "PUMA016", "[ControlInterface] public interface IFoo { Task M(CancellationToken? ⟦a⟧); }", "'IFoo.M(CancellationToken?)' has a CancellationToken in the value 'CancellationToken?', which cannot leave its process: pass it as a parameter of type CancellationToken" },
        { "PUMA016", "[ControlInterface] public interface IFoo { Task M(CancellationToken a, params CancellationToken[] ⟦b⟧); }", "in the value 'CancellationToken[]'" },
        { "PUMA016", "[ControlInterface] public interface IFoo { Task M((int, List<CancellationToken>) ⟦a⟧); }", "in the value '(int, List<CancellationToken>)'" },
        { "PUMA016", "[ControlInterface] public interface IFoo { ValueTask<CancellationToken> ⟦M⟧(); }", "in the value 'CancellationToken'" },
        { "PUMA016", "[ControlInterface] public interface IFoo { IAsyncEnumerable<CancellationToken?> ⟦M⟧(); }", "in the value 'CancellationToken?'" },
        // Where it is called, only what is not an interface of this assembly is shown.
        { "PUMA001", "class C { object M(PipelineRun run) => run.Control<⟦C⟧>(\"a\"); }", "'C' is not an interface: declare the members that you want to call in an interface that the runnable implements, and ask for that" },
        { "PUMA001", "class C { object M(PipelineRun run) => run.Control<⟦Action⟧>(\"a\"); }", "'Action' is not an interface" },
        { "PUMA001", "class C { object M(PipelineRun run) => run.Control<⟦string[]⟧>(\"a\"); }", "'string[]' is not an interface" },
        { "PUMA002", "class C { private interface ⟦IFoo⟧; object M(PipelineRun run) => run.Control<IFoo>(\"a\"); }", "Generated code cannot reach 'C.IFoo'" },
        { "PUMA002", "public interface ⟦IFoo⟧<T>; class C { private class D; object M(PipelineRun run) => run.Control<IFoo<D>>(\"a\"); }", "Generated code cannot reach 'IFoo<C.D>'" },
        { "PUMA002", "public interface ⟦IFoo⟧<T>; file class D; class C { object M(PipelineRun run) => run.Control<IFoo<D[]>>(\"a\"); }", "Generated code cannot reach 'IFoo<D[]>'" },
        { "PUMA006", "public interface IFoo { void ⟦M⟧(); } class C { object M(PipelineRun run) => run.Control<IFoo>(\"a\") ?? run.Control<IFoo>(\"b\"); }", "'IFoo.M()' returns 'void'" },
        { "PUMA006", "class C { object M(PipelineRun run) => run.Control<⟦IComparable<int>⟧>(\"a\"); }", "'IComparable<int>.CompareTo(int)' returns 'int'" },
    };

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void WhatCannotWork_IsRefusedWhereItStands(string id, string source, string message)
    {
        GeneratedCode code = GeneratedCode.From(source.Replace("⟦", "", StringComparison.Ordinal).Replace("⟧", "", StringComparison.Ordinal));

        Diagnostic problem = code.Problems.First();
        Assert.Equal(id, problem.Id);
        Assert.Equal(DiagnosticSeverity.Error, problem.Severity);
        Assert.Equal("Puma.Dataflow", problem.Descriptor.Category);
        Assert.Contains(message, problem.GetMessage(CultureInfo.InvariantCulture), StringComparison.Ordinal);
        Assert.Equal("file0.cs", problem.Location.GetLineSpan().Path);
        Assert.Equal(source.IndexOf('⟦', StringComparison.Ordinal), problem.Location.SourceSpan.Start);
        Assert.Equal(source.IndexOf('⟧', StringComparison.Ordinal) - 1, problem.Location.SourceSpan.End);
        Assert.DoesNotContain(code.Files, static f => f.Contains("IFoo", StringComparison.Ordinal));
    }

    [Fact]
    public void EveryDiagnostic_HasATest()
    {
        IEnumerable<string> tested = Interfaces.Select(static row => row.Data.Item1).Distinct().Order(StringComparer.Ordinal);

        Assert.Equal(Descriptors.Select(static d => d.Id), tested);
    }

    [Fact]
    public void EveryProblem_IsToldOnce()
    {
        GeneratedCode code = GeneratedCode.From("""
            [ControlInterface] public interface IFoo { int P { get; } void M(); Task N(Action a, ref int b); }
            class C { object M(PipelineRun run) => run.Control<IFoo>("a") ?? run.Control<IFoo>("b"); }
            """);

        Assert.Equal(["PUMA004", "PUMA006", "PUMA014", "PUMA007"], code.Problems.Select(static p => p.Id));
    }

    [Fact]
    public void InterfacesWithoutProblems_AreServedBesideOthers()
    {
        GeneratedCode code = GeneratedCode.From("""
            [ControlInterface] public interface IBad { void M(); Task N(IGood a); }
            [RemoteObject] public interface IGood : IAsyncDisposable { Task M(); }
            """);

        Assert.Equal(["PUMA006"], code.Problems.Select(static p => p.Id));
        Assert.StartsWith("IGood-", Assert.Single(code.Files), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("void M();", "PUMA006")]
    [InlineData("internal Task M();", "PUMA002")]
    public void ProblemsOfAnotherAssembly_AreShownAtTheCall(string member, string id)
    {
        Compilation other = GeneratedCode.Compile($$"""public interface IFoo { {{member}} }""").WithAssemblyName("Other");
        const string User = """class C { object M(PipelineRun run) => run.Control<IFoo>("a"); }""";

        GeneratedCode code = GeneratedCode.From(GeneratedCode.Compile(User).AddReferences(other.ToMetadataReference()));

        Diagnostic problem = Assert.Single(code.Problems);
        Assert.Equal(id, problem.Id);
        Assert.Equal("IFoo", User[problem.Location.SourceSpan.Start..problem.Location.SourceSpan.End]);
    }

    internal static IEnumerable<DiagnosticDescriptor> Descriptors =>
        typeof(ControlDiagnostics).GetFields().Select(static f => f.GetValue(null)).OfType<DiagnosticDescriptor>().OrderBy(static d => d.Id, StringComparer.Ordinal);
}
