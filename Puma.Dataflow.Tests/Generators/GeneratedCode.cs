using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Puma.Dataflow.Generators;

namespace Puma.Dataflow.Tests.Generators;

/// <summary>Runs the generator over sources, in memory.</summary>
internal sealed class GeneratedCode
{
    /// <summary>What programs begin with.</summary>
    private const string Usings = """
        global using System;
        global using System.Collections.Generic;
        global using System.Threading;
        global using System.Threading.Tasks;
        global using Puma.Dataflow;
        """;

    private static readonly CSharpParseOptions Parse = new(LanguageVersion.CSharp14);

    private static readonly CSharpCompilationOptions Options = new(
        OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true, nullableContextOptions: NullableContextOptions.Enable, warningLevel: 9999);

    private readonly GeneratorDriverRunResult _result;

    private GeneratedCode(Compilation output, GeneratorDriverRunResult result)
    {
        Output = output;
        _result = result;
    }

    /// <summary>The assemblies that the tests run with.</summary>
    public static ImmutableArray<MetadataReference> References { get; } =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(static path => Path.GetFileName(path) is "Puma.Dataflow.dll" or "netstandard.dll" || Path.GetFileName(path).StartsWith("System.", StringComparison.Ordinal))
            .Select(static path => MetadataReference.CreateFromFile(path)),
    ];

    /// <summary>What the generator says.</summary>
    public ImmutableArray<Diagnostic> Problems => _result.Diagnostics;

    public IReadOnlyList<string> Files => [.. _result.GeneratedTrees.Select(static t => Path.GetFileName(t.FilePath))];

    /// <summary>The sources and what was generated.</summary>
    public Compilation Output { get; }

    public string Text => string.Join('\n', _result.GeneratedTrees);

    /// <summary>What the compiler says of the sources and of what was generated.</summary>
    public IEnumerable<Diagnostic> CompilerMessages => Output.GetDiagnostics(TestContext.Current.CancellationToken).Where(static d => d.Severity > DiagnosticSeverity.Hidden);

    public static GeneratedCode From(params string[] sources) => From(Compile(sources));

    public static GeneratedCode From(Compilation compilation)
    {
        GeneratorDriver driver = CreateDriver().RunGeneratorsAndUpdateCompilation(compilation, out Compilation output, out _, TestContext.Current.CancellationToken);
        return new(output, driver.GetRunResult());
    }

    public static GeneratorDriver CreateDriver() => CSharpGeneratorDriver.Create(
        [new ControlProxyGenerator().AsSourceGenerator()],
        parseOptions: Parse,
        driverOptions: new GeneratorDriverOptions(IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true));

    public static CSharpCompilation Compile(params string[] sources) => CSharpCompilation.Create(
        "Program",
        [.. sources.Append(Usings).Select(static (s, i) => CSharpSyntaxTree.ParseText(s, Parse, $"file{i}.cs"))],
        References,
        Options);
}
