using System.Diagnostics;
using System.Threading.Channels;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>A stage that gets and loses branches while it runs.</summary>
/// <remarks>
/// The branches belong to the stage's stream: others ask for a change by a request and a signal, and the stream makes it at its next
/// checkpoint, between two items or while it waits. So a branch gets an item in whole or not at all, and whether it joins is decided in one
/// place: the requests end with the stage, and what comes later is refused.
/// </remarks>
internal abstract class BranchableStage(StageSetup setup) : MovingStage(setup)
{
    /// <summary>A wish to join, with the branch and the answer; or to leave.</summary>
    private readonly record struct Request(Link Link, BranchScope? Joining, TaskCompletionSource? Answered);

    // Written by any thread until the stage knows how it ends; read by the stream, and at the end by the thread that ends the stage.
    private readonly Channel<Request> _requests = Channel.CreateUnbounded<Request>();

    // How many streams make changes: never more than one. For the assertion alone.
    private int _changing;

    /// <summary>Whether there was a branch that takes items when the stream last looked. The stream's.</summary>
    protected bool HasBranch { get; private set; }

    // From then on no branch can join any more.
    protected override bool HearsStop => true;

    // The stream looks at its branches before its first item.
    public override void Prepare() => RaiseControl();

    /// <summary>Asks to lead items into a branch from the next one on.</summary>
    /// <returns>Ends when the branch has joined or is refused; its scope tells which.</returns>
    public Task JoinAsync(Link link, BranchScope scope)
    {
        Debug.Assert(link.Writer == this && scope.Parent == Scope, "A branch joins where it was made for.");
        var answered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Ask(new Request(link, scope, answered));
        return answered.Task;
    }

    /// <summary>Asks to lead no further items into a branch; its input then ends as completed.</summary>
    public void Leave(Link link) => Ask(new Request(link, null, null));

    /// <summary>The stream itself sees that a branch is gone, so that one that joins at the same moment is not overlooked.</summary>
    public override void OnReaderClosed() => RaiseControl();

    /// <summary>Makes the changes that were asked for, and looks which branches are left. The stream only.</summary>
    protected void TakeRequests()
    {
        if (!Has(Attention.Control))
            return;

        // First the signal, then the requests: what comes meanwhile sets it again.
        Clear(Attention.Control);
        int changing = Interlocked.Increment(ref _changing);
        Debug.Assert(changing == 1, "The branches belong to one stream.");
        while (_requests.Reader.TryRead(out Request request))
        {
            if (request.Joining is null)
            {
                if (Links.RemoveOutput(request.Link))
                    OnRemoved(request.Link);
            }
            else if (IsStopping || !request.Joining.TryJoin())
            {
                Refuse(request);
            }
            else
            {
                Add(request);
            }
        }

        HasBranch = Array.Exists(Outputs, static o => !o.IsShut);
        Interlocked.Decrement(ref _changing);
    }

    /// <summary>A branch was taken out of those that get items. The stream only.</summary>
    protected virtual void OnRemoved(Link link) { }

    protected override void OnEnding(EndMarker marker)
    {
        _requests.Writer.TryComplete();
        while (_requests.Reader.TryRead(out Request request))
            Refuse(request);
    }

    private void Ask(Request request)
    {
        if (_requests.Writer.TryWrite(request))
            RaiseControl();
        else
            Refuse(request);
    }

    private void Add(Request request)
    {
        Links.AddOutput(request.Link);

        // A stage that is left behind has closed the links that it saw: either it saw this one, or this sees that it was left behind.
        Interlocked.MemoryBarrier();
        if (IsAbandoned)
            request.Link.Complete(EndMarker.Canceled);
        request.Answered!.TrySetResult();
    }

    private static void Refuse(Request request)
    {
        request.Joining?.TryRefuse();
        request.Answered?.TrySetResult();
    }
}
