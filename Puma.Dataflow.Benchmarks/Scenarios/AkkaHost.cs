using Akka.Actor;
using Akka.Streams;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>The actor system of all Akka streams of this process.</summary>
internal static class AkkaHost
{
    private static readonly Lazy<ActorMaterializer> s_materializer = new(static () => ActorSystem.Create("benchmarks", "akka { loglevel = ERROR, stdout-loglevel = ERROR }").Materializer());

    public static ActorMaterializer Materializer => s_materializer.Value;

    public static Attributes Buffers(int capacity) => Attributes.CreateInputBuffer(capacity, capacity);
}
