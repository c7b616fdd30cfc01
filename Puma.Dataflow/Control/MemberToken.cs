namespace Puma.Dataflow.Control;

/// <summary>
/// The token of a member that runs. What the member does when it fires runs on the thread pool, not on the thread of its caller, and
/// harms nobody when it throws.
/// </summary>
internal sealed class MemberToken : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly InstanceControl _instance;
    private readonly string _member;
    private readonly CancellationTokenRegistration _byCaller;
    private readonly CancellationTokenRegistration _byStage;

    public MemberToken(InstanceControl instance, string member, CancellationToken callerToken, CancellationToken discardToken)
    {
        (_instance, _member) = (instance, member);
        _byCaller = callerToken.UnsafeRegister(static state => _ = ((MemberToken)state!).FireAsync(), this);
        _byStage = discardToken.UnsafeRegister(static state => _ = ((MemberToken)state!).FireAsync(), this);
    }

    public CancellationToken Token => _source.Token;

    public void Dispose()
    {
        _byCaller.Dispose();
        _byStage.Dispose();
        _source.Dispose();
    }

    private async Task FireAsync()
    {
        try
        {
            await _source.CancelAsync().ConfigureAwait(false);
        }
        catch (Exception error)
        {
            _instance.LogLateFailure(_member, error);
        }
    }
}
