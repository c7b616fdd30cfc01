namespace Puma.Dataflow.Control;

/// <summary>Continues on the stream of an instance, at its next checkpoint, what waited there.</summary>
internal sealed class LaneContext(InstanceControl instance) : SynchronizationContext
{
    public override void Post(SendOrPostCallback d, object? state) => instance.Lane.Add(new Continuation(instance, d, state));

    public override void Send(SendOrPostCallback d, object? state) =>
        throw new NotSupportedException("The stream of a runnable takes no synchronous calls; use Post.");

    public override SynchronizationContext CreateCopy() => this;

    /// <summary>Runs something whose awaits go on on the stream.</summary>
    public T Run<T>(Func<T> first)
    {
        SynchronizationContext? before = Current;
        SetSynchronizationContext(this);
        try
        {
            return first();
        }
        finally
        {
            SetSynchronizationContext(before);
        }
    }

    private sealed class Continuation(InstanceControl owner, SendOrPostCallback callback, object? state) : Command
    {
        public override ValueTask RunAsync(InstanceControl instance, Runnable runnable, CancellationToken cancellationToken)
        {
            SynchronizationContext? before = Current;
            SetSynchronizationContext(instance.Steps);
            try
            {
                callback(state);
            }
            catch (Exception error)
            {
                instance.LogLateFailure("IAsyncEnumerator", error);
            }
            finally
            {
                SetSynchronizationContext(before);
            }

            return default;
        }

        /// <summary>The instance handles nothing more: what is left of the enumeration ends behind what else is left of it.</summary>
        public override void Refuse(CommandRefusal refusal) => owner.RunRest(this);
    }
}
