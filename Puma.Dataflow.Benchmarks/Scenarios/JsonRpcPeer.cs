using System.Net.Sockets;
using StreamJsonRpc;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>The same echo as remote calls, as many at once as the window allows.</summary>
internal sealed class JsonRpcPeer : IDisposable
{
    public const string Role = "rpc";

    private const string Method = "Echo";

    private readonly JsonRpc _rpc;

    public JsonRpcPeer(Socket socket)
    {
        _rpc = new JsonRpc(MakeHandler(socket));
        _rpc.StartListening();
    }

    public void Dispose() => _rpc.Dispose();

    /// <param name="first">The number of the first record.</param>
    /// <param name="n">How many.</param>
    /// <param name="window">How many at once at most.</param>
    /// <returns>The sum of the numbers that came back.</returns>
    public async Task<long> EchoAsync(int first, int n, int window)
    {
        long sum = 0;
        Queue<Task<Reading>> underWay = new();
        for (int i = first; i < first + n; i++)
        {
            if (underWay.Count == window)
                sum += (await underWay.Dequeue()).Number;
            underWay.Enqueue(_rpc.InvokeAsync<Reading>(Method, new Reading(i, 1, 2, 3)));
        }

        while (underWay.TryDequeue(out Task<Reading>? answer))
            sum += (await answer).Number;
        return sum;
    }

    /// <summary>The other side.</summary>
    public static async Task ServeAsync(Socket socket)
    {
        using var rpc = new JsonRpc(MakeHandler(socket));
        rpc.AddLocalRpcMethod(Method, static (Reading reading) => reading);
        rpc.StartListening();
        try
        {
            await rpc.Completion;
        }
        catch (ConnectionLostException)
        {
            // The end.
        }
    }

    private static HeaderDelimitedMessageHandler MakeHandler(Socket socket) =>
        new(new NetworkStream(socket, ownsSocket: false), new SystemTextJsonFormatter());
}
