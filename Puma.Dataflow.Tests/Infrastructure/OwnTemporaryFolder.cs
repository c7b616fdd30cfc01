[assembly: AssemblyFixture(typeof(Puma.Dataflow.Tests.Infrastructure.OwnTemporaryFolder))]

namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>
/// Gives the tests and their child processes a temporary folder of their own, so that what is left there is theirs. Its name is short,
/// because sockets live in it.
/// </summary>
public sealed class OwnTemporaryFolder : IDisposable
{
    private readonly string _path = Directory.CreateTempSubdirectory("pt").FullName;

    public OwnTemporaryFolder() => Environment.SetEnvironmentVariable(OperatingSystem.IsWindows() ? "TMP" : "TMPDIR", _path);

    public void Dispose() => Directory.Delete(_path, recursive: true);
}
