using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>The parent of one worker in this process, frame by frame: a test says what comes when, and sees everything that the worker says.</summary>
internal sealed class WorkerParent : IAsyncDisposable
{
    private readonly Side _data;
    private readonly Side _control;
    private readonly Task _worker;
    private readonly PayloadWriter _writer = new();
    private readonly ItemCodecs _codecs;

    private WorkerParent(StartRecord start, IItemCodec? codec, IWorkMark? mark, TimeProvider? time)
    {
        _codecs = new ItemCodecs(codec, []);
        _data = new Side();
        _control = new Side();
        _worker = Task.Run(() => ChildWorker.RunAsync(_data.Worker, _control.Worker, mark, ring: null, time ?? TimeProvider.System));
        var fields = new FieldWriter();
        start.WriteTo(fields);
        Say(FrameType.Start, payload: fields.Written);
    }

    /// <summary>What a worker is told at its start unless a test says otherwise.</summary>
    public static StartRecord Record(Recipe recipe) => new()
    {
        Stage = "stage",
        Instance = 0,
        Retries = 0,
        FaultsAtError = true,
        TellsItems = false,
        OwnThread = false,
        TickInterval = 0,
        TicksPaused = false,
        Credits = [100, 100],
        MaxPayload = FrameFormat.MaxData,
        BurstLength = 256,
        LogCategory = "category",
        Host = DelegateIdentity.Of(recipe.Host),
        Maker = DelegateIdentity.Of(recipe.Maker),
        UserCode = recipe.UserCode is null ? null : DelegateIdentity.Of(recipe.UserCode),
        Ports = recipe.Ports,
    };

    public static WorkerParent Make(StartRecord start, Func<IItemCodec>? codec = null, IWorkMark? mark = null, TimeProvider? time = null) =>
        new(codec is null ? start : start with { Codec = DelegateIdentity.Of(codec) }, codec?.Invoke(), mark, time);

    /// <summary>Makes a worker whose code has started.</summary>
    public static async Task<WorkerParent> StartAsync(StartRecord start, Func<IItemCodec>? codec = null, IWorkMark? mark = null, TimeProvider? time = null)
    {
        WorkerParent parent = Make(start, codec, mark, time);
        parent.TakesPacks = (await parent.HearAsync(FrameType.Started)).Number != 0;
        return parent;
    }

    /// <summary>Whether the worker has said so.</summary>
    public bool TakesPacks { get; private set; }

    public void Say(FrameType type, long number = 0, ReadOnlySpan<byte> payload = default, int attempt = 0) => _control.Send(type, number, payload, attempt);

    public void SayEnd(RunState outcome)
    {
        var fields = new FieldWriter();
        new EndRecord(outcome, null).WriteTo(fields);
        Say(FrameType.End, payload: fields.Written);
    }

    public void SendItem<T>(long number, T item, int attempt = 1)
    {
        _writer.Reset();
        _codecs.For<T>().Write(_writer, item);
        _data.Send(number, _writer, attempt);
    }

    /// <summary>Sends items of consecutive numbers in one frame.</summary>
    public void SendPack<T>(long first, params T[] items)
    {
        var packer = new FramePacker();
        foreach (T item in items)
            packer.Add(_codecs.For<T>().WriteShort(_writer, packer.Room, item));
        SendPack(first, packer);
    }

    public void SendPack(long first, FramePacker packer) => _data.Send(FrameType.PackedItems, first, packer.Payload, attempt: 1);

    public void SendData(FrameType type) => _data.Send(type, 0, default, 0);

    /// <summary>Waits until the pumps of the worker have handled all that was sent.</summary>
    public async Task UntilHeardAsync()
    {
        await Waiting.UntilAsync(() => _data.IsHeard, "the worker has read its data");
        await Waiting.UntilAsync(() => _control.IsHeard, "the worker has heard what was said");
    }

    /// <summary>The next frame of the control connection, which must be of this type.</summary>
    public Task<Heard> HearAsync(FrameType type) => NextAsync(_control, type);

    /// <summary>The next frame of the data connection, which must be of this type.</summary>
    public Task<Heard> ReadAsync(FrameType type) => NextAsync(_data, type);

    /// <summary>The next frame of the data connection, which must be a result.</summary>
    public async Task<T> ReadResultAsync<T>()
    {
        Heard heard = await ReadAsync(FrameType.Result);
        var reader = new PayloadReader();
        reader.Reset(new(heard.Payload), heard.Flags.HasFlag(FrameFlags.HasBlocks));
        return _codecs.For<T>().Read(reader);
    }

    public async ValueTask DisposeAsync()
    {
        await _data.DisposeAsync();
        await _control.DisposeAsync();
        await _worker.Within();
    }

    private static async Task<Heard> NextAsync(Side side, FrameType type)
    {
        Heard heard = await side.NextAsync();

        // It is asked at the first record of each category; no test of the worker is about that.
        while (heard.Type == FrameType.LogCategory)
            heard = await side.NextAsync();
        Assert.True(heard.Type == type, $"The worker said {heard.Type} {heard.Number} {heard.Flags} {(heard.Type is FrameType.Failed or FrameType.StartFailed ? heard.Error : null)} instead of {type}.");
        return heard;
    }

    /// <summary>What the worker said.</summary>
    public sealed record Heard(FrameType Type, ushort Port, int Attempt, FrameFlags Flags, long Number, byte[] Payload, bool IsPacked)
    {
        public RemoteRunnableException Error
        {
            get
            {
                var reader = new FieldReader(new(Payload));
                return ErrorRecord.ReadFrom(ref reader).ToException();
            }
        }

        public LogRecord Log
        {
            get
            {
                var reader = new FieldReader(new(Payload));
                return LogRecord.ReadFrom(ref reader);
            }
        }
    }

    /// <summary>One connection.</summary>
    private sealed class Side : IAsyncDisposable
    {
        private readonly SemaphoreSlim _readable = new(0);
        private readonly DuplexStream _stream;
        private readonly FrameChannel _channel;
        private readonly HeardStream _worker;
        private long _sent;

        public Side()
        {
            (_stream, DuplexStream worker) = DuplexStream.CreatePair();
            _worker = new HeardStream(worker);
            _channel = new FrameChannel(_stream, FrameFormat.MaxData, () => _readable.Release());
            _channel.Start();
        }

        public Stream Worker => _worker;

        public bool IsHeard => _worker.Heard >= _sent;

        public void Send(FrameType type, long number, ReadOnlySpan<byte> payload, int attempt)
        {
            _sent += FrameFormat.HeaderLength + payload.Length;
            _channel.Write(type, number, payload, attempt: attempt);
            _channel.Flush();
        }

        public void Send(long number, PayloadWriter payload, int attempt)
        {
            _sent += FrameFormat.HeaderLength + payload.Length;
            _channel.Write(FrameType.Item, number, payload, port: 0, attempt);
            _channel.Flush();
        }

        public async Task<Heard> NextAsync()
        {
            while (true)
            {
                if (_channel.TryPeek(out Frame frame))
                {
                    var heard = new Heard(frame.Type, frame.Port, frame.Attempt, frame.Flags, frame.Number, System.Buffers.BuffersExtensions.ToArray(frame.Payload), _channel.TryPeekPack(out _));
                    _channel.Advance();
                    return heard;
                }

                Assert.False(_channel.HasEnded, "The worker has closed the connection.");
                Assert.True(await _readable.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken), "The worker said nothing.");
            }
        }

        public async ValueTask DisposeAsync()
        {
            await _channel.DisposeAsync();
            await _stream.DisposeAsync();
        }
    }

    /// <summary>Counts what its reader has handled: a pump reads on only when it has told of what it got before.</summary>
    private sealed class HeardStream(Stream inner) : Stream
    {
        private long _read;
        private long _heard;

        public long Heard => Volatile.Read(ref _heard);

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Volatile.Write(ref _heard, _read);
            int read = await inner.ReadAsync(buffer, cancellationToken);
            _read += read;
            return read;
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => inner.WriteAsync(buffer, cancellationToken);

        public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Flush() => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                inner.Dispose();
            base.Dispose(disposing);
        }
    }
}
