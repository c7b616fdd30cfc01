using System.Buffers;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Long frames hold the memory that they need, and no more.</summary>
public sealed class LongPayloadTests
{
    private const int Length = (6 * 1024 * 1024) + 7;

    [Fact] // S34
    public void ALongArray_HasItsExactLength_AndIsUsedAgain()
    {
        var arrays = new LongArrays();
        byte[] first = arrays.Rent(Length);
        byte[] beside = arrays.Rent(Length);

        Assert.Equal((Length, Length), (first.Length, beside.Length));
        Assert.NotSame(first, beside);
        arrays.Return(first);
        Assert.Same(first, arrays.Rent(Length - 100));
        Assert.NotSame(first, arrays.Rent(Length));
    }

    [Fact] // S34
    public void AnEnormousArray_IsNotKept()
    {
        var arrays = new LongArrays();
        byte[] enormous = arrays.Rent((16 * 1024 * 1024) + 1);
        arrays.Return(enormous);

        Assert.NotSame(enormous, arrays.Rent(enormous.Length));
    }

    [Fact] // S34: who does not take arrays over does not pay for their pool
    public void AnArrayThatNobodyTakesOver_IsOwn_AndUsedForTheNext()
    {
        var payload = new LongPayload();
        byte[] first = payload.Hold(Length, [1, 2, 3]);
        Assert.Equal([1, 2, 3], first[..3]);
        payload.Release();

        Assert.Equal(Length, first.Length);
        Assert.Same(first, payload.Hold(Length, []));
    }

    [Fact]
    public void ArraysThatAreTakenOver_ComeFromTheSharedPool_OnceOneWasWanted()
    {
        var payload = new LongPayload();
        byte[] first = payload.Hold(Length, []);
        Assert.False(payload.TryTake(new ReadOnlySequence<byte>(first, 5, 10), out _, out _));
        payload.Release();

        byte[] second = payload.Hold(Length, []);
        Assert.False(payload.TryTake(new ReadOnlySequence<byte>(new byte[10]), out _, out _));
        Assert.True(payload.TryTake(new ReadOnlySequence<byte>(second, 5, 10), out byte[]? taken, out int offset));
        Assert.Equal((second, 5), (taken, offset));
        ArrayPool<byte>.Shared.Return(taken);
        payload.Release();

        // That one is not taken over: the next is own again.
        byte[] third = payload.Hold(Length, []);
        Assert.NotEqual(Length, third.Length);
        payload.Release();
        Assert.Equal(Length, payload.Hold(Length, []).Length);
    }

    [Fact] // S34
    public async Task ALongWrite_InsideAProcess_IsNotCopiedBeforeItIsRead()
    {
        (DuplexStream here, DuplexStream there) = DuplexStream.CreatePair();
        await using DuplexStream writer = here, reader = there;
        var bytes = new byte[Length];
        Task writing = writer.WriteAsync(bytes, TestContext.Current.CancellationToken).AsTask();

        // What is beyond the pipe was not looked at yet.
        bytes[^1] = 42;
        var read = new byte[Length];
        await reader.ReadExactlyAsync(read, TestContext.Current.CancellationToken).AsTask().WaitAsync(Infrastructure.Waiting.Limit, TestContext.Current.CancellationToken);
        await writing.WaitAsync(Infrastructure.Waiting.Limit, TestContext.Current.CancellationToken);

        Assert.Equal(42, read[^1]);
    }
}
