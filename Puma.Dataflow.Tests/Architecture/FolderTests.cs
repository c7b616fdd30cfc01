using System.ComponentModel;
using Mono.Cecil;

namespace Puma.Dataflow.Tests.Architecture;

/// <summary>The folders of the library, who may use whom, and what may stand where.</summary>
public sealed class FolderTests
{
    private const string TplDataflow = "System.Threading.Tasks.Dataflow";

    /// <summary>From the top: each folder may use those of its own layer and of the layers below. The empty name is the root.</summary>
    private static readonly string[][] Layers =
    [
        [""],
        ["Stages"],
        ["Runnables", "Blocks", "Isolation", "Jobs", "Control", "Logging"],
        ["Buffers", "Lifecycle"],
        ["Diagnostics"],
        ["Model"],
    ];

    private static LibraryModel Library => LibraryModel.Library;

    [Fact]
    public void EveryFolder_HasItsPlaceInTheLayers()
    {
        string[] known = [.. Layers.SelectMany(static l => l)];

        Assert.Empty(Library.Files.Where(static f => f.Contains('/')).Select(static f => f.Split('/')[0]).Distinct().Except(known));
    }

    [Fact]
    public void EveryType_IsFoundInAFile() =>
        Assert.Empty(Library.Types.Where(static t => Library.FileOf(t) is null).Select(static t => t.FullName));

    [Fact]
    public void Uses_AreSeenInGeneratedCodeToo()
    {
        // A local of an asynchronous method, and a stage made in a delegate.
        Assert.Contains(Library.Uses, static u => u is { From.Name: "PipelineEnumerable`1", To.Name: "PipelineRun" or "StartedRun" });
        Assert.Contains(Library.Uses, static u => u is { From.Name: "PipelineBuilder`2", To.Name: "TakeStage`1" });
    }

    [Fact]
    public void EveryType_UsesOnlyItsOwnLayerAndThoseBelow() =>
        Assert.Empty(Library.Uses
            .Where(static u => Library.FolderOf(u.To) is { } to && LayerOf(to) < LayerOf(Library.FolderOf(u.From)!))
            .Select(static u => $"{Library.FileOf(u.From)} uses {u.To.Name} in {Library.FileOf(u.To)}")
            .Distinct());

    [Fact]
    public void Buffers_KnowNothingOfTheLifecycle() =>
        Assert.Empty(Library.Uses.Where(static u => Library.FolderOf(u.From) == "Buffers" && Library.FolderOf(u.To) == "Lifecycle").Select(Show));

    [Fact]
    public void TplBlocks_AreUsedOnlyByBlocksBuffersForeignTargetsAndThePublicFace() =>
        Assert.Empty(Library.Uses
            .Where(static u => u.To.Namespace.StartsWith(TplDataflow, StringComparison.Ordinal))
            .Where(static u => Library.FolderOf(u.From) is not ("" or "Blocks" or "Buffers")
                && Library.FileOf(u.From) != "Model/ForeignTarget.cs"
                && !(Library.FolderOf(u.From) == "Model" && ((TypeDefinition)u.From).IsPublic))
            .Select(Show));

    [Fact] // S17, S45
    public void Completion_IsNeverPropagatedByTplLinks() =>
        Assert.Empty(Library.Uses.Where(static u => u.Member?.Name == "set_PropagateCompletion").Select(Show));

    [Fact] // S5, S10
    public void EndMarkers_AreMadeByTheLifecycleOnly() =>
        Assert.Empty(Library.Uses
            .Where(static u => u.To.Name == "EndMarker" && u.Member?.Name == ".ctor" && Library.FolderOf(u.From) is not ("Lifecycle" or "Buffers"))
            .Select(Show));

    [Theory]
    [InlineData("Util")]
    [InlineData("Helper")]
    [InlineData("Common")]
    [InlineData("Manager")]
    public void NoFolderOrType_IsNamedAfterNothing(string word)
    {
        Assert.DoesNotContain(Library.Files, f => f.Contains(word, StringComparison.OrdinalIgnoreCase));
        Assert.DoesNotContain(Library.Types, t => t.Name.Contains(word, StringComparison.OrdinalIgnoreCase));
    }

    [Fact]
    public void PublicTypes_AreInOneNamespace()
    {
        Assert.All(typeof(Pipeline).Assembly.GetExportedTypes().Where(static t => !IsForGeneratedCode(t)), static t => Assert.Equal("Puma.Dataflow", t.Namespace));
        Assert.All(typeof(Pipeline).Assembly.GetExportedTypes().Where(IsForGeneratedCode), static t => Assert.Equal("Puma.Dataflow.Control", t.Namespace));
        Assert.All(typeof(Puma.Dataflow.Testing.Conservation).Assembly.GetExportedTypes(), static t => Assert.Equal("Puma.Dataflow.Testing", t.Namespace));
    }

    /// <summary>Nobody writes them: an editor does not offer them, and a <c>using</c> does not bring them.</summary>
    private static bool IsForGeneratedCode(Type type) =>
        type.GetCustomAttributes(typeof(EditorBrowsableAttribute), inherit: false) is [EditorBrowsableAttribute { State: EditorBrowsableState.Never }];

    [Fact]
    public void InternalTypes_AreInTheNamespaceOfTheirFolder() =>
        Assert.Empty(Library.Types
            .Where(static t => !t.IsPublic && Library.FolderOf(t) is { Length: > 0 } folder && folder != "Model" && t.Name != "StartupHook" && t.Namespace != $"Puma.Dataflow.{Library.FileOf(t)![..Library.FileOf(t)!.LastIndexOf('/')].Replace('/', '.')}")
            .Select(static t => $"{Library.FileOf(t)}: {t.FullName}"));

    private static int LayerOf(string folder) => Array.FindIndex(Layers, l => l.Contains(folder));

    private static string Show(Use use) => $"{Library.FileOf(use.From)}: {use.From.Name} uses {use.Member?.FullName ?? use.To.FullName}";
}
