using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Mono.Cecil;
using Mono.Cecil.Cil;

namespace Puma.Dataflow.Tests.Architecture;

/// <summary>One type uses another: in a base, a member, an attribute or the code of a method, generated code included.</summary>
/// <param name="From">The using type, outermost.</param>
/// <param name="To">The used type, outermost, also of other assemblies.</param>
/// <param name="Member">The used member, if it is one.</param>
internal sealed record Use(TypeReference From, TypeReference To, MemberReference? Member);

/// <summary>The compiled library and the folders of its sources. Public types share one namespace, so the folder is found by the file.</summary>
internal sealed partial class LibraryModel
{
    private static readonly Lazy<LibraryModel> Instance = new(static () => new LibraryModel());

    private readonly Dictionary<string, string> _fileOf = [];

    private LibraryModel()
    {
        SourceFolder = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(ThisFile())!, "..", "..", "Puma.Dataflow"));
        Files = [.. Directory.EnumerateFiles(SourceFolder, "*.cs", SearchOption.AllDirectories)
            .Select(f => Path.GetRelativePath(SourceFolder, f).Replace('\\', '/'))
            .Where(static f => !f.StartsWith("obj/", StringComparison.Ordinal) && !f.StartsWith("bin/", StringComparison.Ordinal))];
        foreach (string file in Files)
        {
            foreach (Match declaration in TypeDeclaration().Matches(File.ReadAllText(Path.Combine(SourceFolder, file))))
                _fileOf.TryAdd(declaration.Groups["name"].Value, file);
        }

        AssemblyDefinition assembly = AssemblyDefinition.ReadAssembly(typeof(Pipeline).Assembly.Location);
        Types = [.. assembly.MainModule.Types.Where(static t => !t.Name.StartsWith('<') && t.Namespace.StartsWith("Puma.", StringComparison.Ordinal))];
        Uses = [.. Types.SelectMany(static t => UsesOf(t, t)).Distinct()];
    }

    public static LibraryModel Library => Instance.Value;

    public string SourceFolder { get; }

    /// <summary>All source files, relative to the library's folder.</summary>
    public IReadOnlyList<string> Files { get; }

    /// <summary>All types but nested and generated ones.</summary>
    public IReadOnlyList<TypeDefinition> Types { get; }

    public IReadOnlyList<Use> Uses { get; }

    /// <summary>The file that declares a type, relative to the library's folder; null for types of others.</summary>
    public string? FileOf(TypeReference type) =>
        type.Namespace.StartsWith("Puma.", StringComparison.Ordinal) ? _fileOf.GetValueOrDefault(type.Name.Split('`')[0]) : null;

    /// <summary>The first folder of the file that declares a type; empty for the root, null for types of others.</summary>
    public string? FolderOf(TypeReference type) => FileOf(type) is { } file ? (file.Contains('/') ? file.Split('/')[0] : "") : null;

    private static IEnumerable<Use> UsesOf(TypeDefinition type, TypeDefinition outermost)
    {
        var used = new List<(TypeReference? Type, MemberReference? Member)> { (type.BaseType, null) };
        used.AddRange(type.Interfaces.Select(static i => ((TypeReference?)i.InterfaceType, (MemberReference?)null)));
        used.AddRange(type.Fields.Select(static f => ((TypeReference?)f.FieldType, (MemberReference?)null)));
        used.AddRange(type.GenericParameters.SelectMany(static p => p.Constraints).Select(static c => ((TypeReference?)c.ConstraintType, (MemberReference?)null)));
        foreach (MethodDefinition method in type.Methods)
        {
            used.Add((method.ReturnType, null));
            used.AddRange(method.Parameters.Select(static p => ((TypeReference?)p.ParameterType, (MemberReference?)null)));
            used.AddRange(method.GenericParameters.SelectMany(static p => p.Constraints).Select(static c => ((TypeReference?)c.ConstraintType, (MemberReference?)null)));
            if (!method.HasBody)
                continue;
            used.AddRange(method.Body.Variables.Select(static v => ((TypeReference?)v.VariableType, (MemberReference?)null)));
            foreach (Instruction instruction in method.Body.Instructions)
            {
                switch (instruction.Operand)
                {
                    case TypeReference t:
                        used.Add((t, null));
                        break;
                    case MemberReference m:
                        used.Add((m.DeclaringType, m));
                        if (m is GenericInstanceMethod generic)
                            used.AddRange(generic.GenericArguments.Select(static a => ((TypeReference?)a, (MemberReference?)null)));
                        break;
                }
            }
        }

        return used
            .Where(static u => u.Type is not null)
            .SelectMany(u => Parts(u.Type!).Select(part => new Use(outermost, part, u.Member)))
            .Where(u => u.To.FullName != outermost.FullName)
            .Concat(type.NestedTypes.SelectMany(nested => UsesOf(nested, outermost)));
    }

    /// <summary>The outermost types of which a type is made: itself, its element, its arguments.</summary>
    private static IEnumerable<TypeReference> Parts(TypeReference type) => type switch
    {
        GenericParameter => [],
        GenericInstanceType generic => Parts(generic.ElementType).Concat(generic.GenericArguments.SelectMany(Parts)),
        TypeSpecification specification => Parts(specification.ElementType),
        { DeclaringType: { } outer } => Parts(outer),
        _ => [type],
    };

    private static string ThisFile([CallerFilePath] string path = "") => path;

    [GeneratedRegex(@"^[^/\r\n]*?\b(?:(?:class|record|struct|interface|enum)\s+(?:class\s+|struct\s+)?|delegate\s+\w+\s+)(?<name>[A-Z]\w*)", RegexOptions.Multiline)]
    private static partial Regex TypeDeclaration();
}
