using Puma.Dataflow.Blocks;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>The outputs of a pipeline as an observable; each subscription is a run.</summary>
internal sealed class PipelineObservable<T>(PipelinePlan plan) : IObservable<T>
{
    public IDisposable Subscribe(IObserver<T> observer)
    {
        ArgumentNullException.ThrowIfNull(observer);
        StartedRun started = plan.Start(CancellationToken.None);
        var subscription = new Subscription(started, observer);
        started.Graph.Own(Task.Run(subscription.ForwardAsync, CancellationToken.None));
        return subscription;
    }

    /// <summary>Hands the items of one run to one observer, one call after another.</summary>
    private sealed class Subscription(StartedRun started, IObserver<T> observer) : IDisposable
    {
        private readonly ExitStage<T> _exit = started.Nodes.OfType<ExitStage<T>>().Single();

        // Set by any thread, never cleared.
        private volatile bool _isOver;

        /// <summary>
        /// Cancels the run. Waits for nothing, because the observer may dispose from within a call, or hold what a call waits for; so the one call that is
        /// decided on already is still made.
        /// </summary>
        public void Dispose()
        {
            _isOver = true;
            started.Graph.Cancel(new CancellationToken(canceled: true));
        }

        public async Task ForwardAsync()
        {
            while (!_isOver && await _exit.Block.HasMoreAsync().ConfigureAwait(false))
            {
                while (!_isOver && _exit.Block.TryBeginTake(out T item))
                    Tell(item);
            }

            Exception? failure = await FailureAsync(started.Graph.Completion).ConfigureAwait(false);
            if (_isOver)
                return;
            if (failure is null)
                observer.OnCompleted();
            else
                observer.OnError(failure);
        }

        private void Tell(T item)
        {
            bool hasFailed = false;
            try
            {
                observer.OnNext(item);
            }
            catch (Exception error)
            {
                // The observer is the end of the pipeline, and has failed. It is told nothing more.
                hasFailed = _isOver = true;
                _exit.FailFromOutside(error);
            }
            finally
            {
                _exit.Block.EndTake(hasFailed);
            }
        }

        private static async Task<Exception?> FailureAsync(Task completion)
        {
            try
            {
                await completion.ConfigureAwait(false);
                return null;
            }
            catch (Exception error)
            {
                return error;
            }
        }
    }
}
