using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Hosts code that handles items of one type.</summary>
internal sealed class HostedItems<TIn, TOut> : HostedCode
{
    private readonly ItemHandler<TIn, TOut> _handler;
    private readonly Emitter<TOut> _output;
    private readonly ItemCodec<TIn> _codec;
    private readonly Held _held;

    // Set when items may come in packs: the code is no more than a delegate that returns one output for each.
    private readonly Func<TIn, CancellationToken, TOut>? _transform;
    private readonly ChildEmitter<TOut>? _packOutput;
    private readonly PayloadReader _packReader = new();

    private HostedItems(ItemHandler<TIn, TOut> handler, HostSetup setup)
    {
        _handler = handler;
        _output = setup.Output<TOut>(0);
        _codec = setup.Codecs.For<TIn>();
        _held = new Held(this);
        if (setup.HasSimpleItems && handler is TransformHandler<TIn, TOut> direct)
            (_transform, _packOutput) = (direct.Transform, (ChildEmitter<TOut>)_output);
    }

    public static HostedCode Make(Recipe recipe, HostSetup setup)
    {
        ItemHandler<TIn, TOut> MakeHandler() => ((CodeMaker<ItemHandler<TIn, TOut>>)recipe.Maker)(recipe.UserCode, recipe.Options);
        return new HostedItems<TIn, TOut>(setup.OwnThread ? new OwnThreadHandler<TIn, TOut>(MakeHandler, setup.Stage) : MakeHandler(), setup);
    }

    public override ValueTask StartAsync(StageContext context, CancellationToken cancellationToken) => _handler.StartAsync(context, _output, cancellationToken);

    public override HeldItem Read(int port, PayloadReader payload)
    {
        _held.Item = _codec.Read(payload);
        return _held;
    }

    public override bool HandlesPacks => _transform is not null;

    public override Exception? HandlePack(ref FramePack pack, PackInWork work)
    {
        Func<TIn, CancellationToken, TOut> transform = _transform!;
        ChildEmitter<TOut> output = _packOutput!;
        CancellationToken token = work.Token;
        Exception? failure = null;
        int sent = 0;
        while (failure is null && !pack.IsEmpty && output.CanSendAfter(sent) && work.TryBegin(pack.Number))
        {
            long number = pack.Number;
            FramePack rest = pack;
            if (!rest.TryTake(out int at, out int length) || !TryRead(rest.Bytes, at, length, out TIn item))
                break;
            try
            {
                output.SendPacked(number, transform(item, token));
                sent++;
            }
            catch (Exception error)
            {
                failure = error;
            }

            _packReader.Release();
            pack = rest;
        }

        output.AddCredits(-sent);
        return failure;
    }

    /// <returns>False when the item takes the long way, see <see cref="ItemCodec{T}.ReadShort"/>.</returns>
    private bool TryRead(byte[] bytes, int at, int length, out TIn item)
    {
        try
        {
            item = _codec.ReadShort(_packReader, bytes, at, length);
            return true;
        }
        catch (Exception)
        {
            _packReader.Release();
            item = default!;
            return false;
        }
    }

    public override ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken) => _handler.RunCommandAsync(command, instance, cancellationToken);

    public override ValueTask TickAsync(CancellationToken cancellationToken) => _handler.TickAsync(cancellationToken);

    public override ValueTask CompletedAsync(CancellationToken cancellationToken) => _handler.CompletedAsync(cancellationToken);

    public override ValueTask EndAsync(RunState outcome, Exception? cause) => _handler.EndAsync(outcome, cause);

    private sealed class Held(HostedItems<TIn, TOut> code) : HeldItem
    {
        public TIn Item { get; set; } = default!;

        public override bool EmitsLast => code._handler.EmitsLast;

        public override ValueTask HandleAsync(CancellationToken cancellationToken) => code._handler.HandleAsync(Item, code._output, cancellationToken);

        public override void Leave() => Item = default!;
    }
}

/// <summary>Hosts code that emits of its own accord.</summary>
internal sealed class HostedSource<TOut> : HostedCode
{
    private readonly SourceBody<TOut> _body;
    private readonly Emitter<TOut> _output;

    private HostedSource(SourceBody<TOut> body, HostSetup setup)
    {
        _body = body;
        _output = setup.Output<TOut>(0);
    }

    public static HostedCode Make(Recipe recipe, HostSetup setup)
    {
        SourceBody<TOut> MakeBody() => ((CodeMaker<SourceBody<TOut>>)recipe.Maker)(recipe.UserCode, recipe.Options);
        return new HostedSource<TOut>(setup.OwnThread ? new OwnThreadBody<TOut>(MakeBody, setup.Stage) : MakeBody(), setup);
    }

    public override bool HasBody => true;

    public override ValueTask StartAsync(StageContext context, CancellationToken cancellationToken) => _body.StartAsync(context, _output, cancellationToken);

    public override ValueTask ProduceAsync(CancellationToken stopToken) => _body.ProduceAsync(_output, stopToken);

    public override ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken) => _body.RunCommandAsync(command, instance, cancellationToken);

    public override ValueTask TickAsync(CancellationToken cancellationToken) => _body.TickAsync(cancellationToken);

    public override ValueTask CompletedAsync(CancellationToken cancellationToken) => _body.CompletedAsync(cancellationToken);

    public override ValueTask EndAsync(RunState outcome, Exception? cause) => _body.EndAsync(outcome, cause);
}
