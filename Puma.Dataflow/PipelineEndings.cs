using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>A pipeline whose last stage is written.</summary>
/// <typeparam name="TIn">What it accepts.</typeparam>
public sealed class PipelineEnd<TIn>
{
    internal PipelineEnd(StageDefinition stage) => Stage = stage;

    internal StageDefinition Stage { get; }
}

/// <summary>What can be made of a pipeline that is written.</summary>
public static class PipelineEndings
{
    extension(PipelineEnd<NoInput> end)
    {
        /// <summary>Checks the pipeline and makes its description.</summary>
        /// <param name="options">The settings of the whole pipeline.</param>
        /// <exception cref="PipelineBuildException">Something is wrong; all problems are listed.</exception>
        public Pipeline Build(PipelineOptions? options = null)
        {
            ArgumentNullException.ThrowIfNull(end);
            return new Pipeline(PipelinePlan.Make(end.Stage, options));
        }
    }

    extension<TIn>(PipelineEnd<TIn> end)
    {
        /// <summary>Checks the pipeline and makes its description.</summary>
        /// <param name="options">The settings of the whole pipeline.</param>
        /// <exception cref="PipelineBuildException">Something is wrong; all problems are listed.</exception>
        public Pipeline<TIn> Build(PipelineOptions? options = null)
        {
            ArgumentNullException.ThrowIfNull(end);
            RefuseBranch<TIn>();
            RefuseNoInput<TIn>();
            return new Pipeline<TIn>(PipelinePlan.Make(end.Stage, options));
        }

        /// <summary>Starts a run and shows it as a TPL target.</summary>
        /// <param name="options">The settings of the whole pipeline.</param>
        /// <exception cref="PipelineBuildException">Something is wrong; all problems are listed.</exception>
        /// <exception cref="InvalidOperationException">The pipeline holds an instance and has run before.</exception>
        public ITargetBlock<TIn> AsBlock(PipelineOptions? options = null)
        {
            ArgumentNullException.ThrowIfNull(end);
            RefuseBranch<TIn>();
            RefuseNoInput<TIn>();
            StartedRun run = PipelinePlan.Make(end.Stage, options).Start(CancellationToken.None);
            return run.Nodes.OfType<EntryStage<TIn>>().Single().Block;
        }
    }

    extension<T>(PipelineBuilder<NoInput, T> builder)
    {
        /// <summary>Starts a run and shows it as a TPL source. Completing the block completes the run.</summary>
        /// <param name="options">The settings of the whole pipeline.</param>
        /// <exception cref="PipelineBuildException">Something is wrong; all problems are listed.</exception>
        /// <exception cref="InvalidOperationException">The pipeline holds an instance and has run before.</exception>
        public ISourceBlock<T> AsBlock(PipelineOptions? options = null)
        {
            ArgumentNullException.ThrowIfNull(builder);
            return Exit<T>(StartWithExit(builder, options)).Block;
        }

        /// <summary>Starts a run at each enumeration and goes through what comes out of it.</summary>
        /// <param name="options">The settings of the whole pipeline.</param>
        /// <remarks>When the enumeration is left early, the run takes no more input and ends. A fault or a cancellation of the run is thrown by the enumeration, after the values before it.</remarks>
        /// <exception cref="PipelineBuildException">Something is wrong; all problems are listed.</exception>
        [System.Diagnostics.CodeAnalysis.SuppressMessage("Style", "VSTHRD200:Use \"Async\" suffix for async methods", Justification = "Named after the conversions of the framework, such as ToAsyncEnumerable in System.Linq.")]
        public IAsyncEnumerable<T> ToAsyncEnumerable(PipelineOptions? options = null)
        {
            ArgumentNullException.ThrowIfNull(builder);
            return new PipelineEnumerable<T>(PipelinePlan.Make(builder.Exit(), options));
        }

        /// <summary>Starts a run at each subscription and tells the observer what comes out of it, one call after another.</summary>
        /// <param name="options">The settings of the whole pipeline.</param>
        /// <remarks>
        /// The calls come one at a time, from no thread in particular; a slow observer holds the run back. The end is told after the values before it: completed, or with the exception
        /// of the run's <see cref="PipelineRun.Completion"/>. An observer that throws from <c>OnNext</c> faults the run and is told nothing more.
        /// Disposing the subscription cancels the run and does not wait for it: a call that is under way, or just about to begin on another thread, is still
        /// made, and no other. <c>Subscribe</c> throws <see cref="InvalidOperationException"/> when the pipeline holds an instance and has run before.
        /// </remarks>
        /// <exception cref="PipelineBuildException">Something is wrong; all problems are listed.</exception>
        public IObservable<T> AsObservable(PipelineOptions? options = null)
        {
            ArgumentNullException.ThrowIfNull(builder);
            return new PipelineObservable<T>(PipelinePlan.Make(builder.Exit(), options));
        }
    }

    extension<TIn, T>(PipelineBuilder<TIn, T> builder)
    {
        /// <summary>Starts a run and shows it as a TPL propagator.</summary>
        /// <param name="options">The settings of the whole pipeline.</param>
        /// <exception cref="PipelineBuildException">Something is wrong; all problems are listed.</exception>
        /// <exception cref="InvalidOperationException">The pipeline holds an instance and has run before.</exception>
        public IPropagatorBlock<TIn, T> AsBlock(PipelineOptions? options = null)
        {
            ArgumentNullException.ThrowIfNull(builder);
            RefuseBranch<TIn>();
            StartedRun run = StartWithExit(builder, options);
            return new PipelineBlock<TIn, T>(run.Nodes.OfType<EntryStage<TIn>>().Single().Block, Exit<T>(run).Block);
        }

        /// <summary>Makes a part that other pipelines go through.</summary>
        /// <exception cref="InvalidOperationException">The part has no entry, or nothing behind it.</exception>
        public PipelinePart<TIn, T> AsPart()
        {
            ArgumentNullException.ThrowIfNull(builder);
            RefuseBranch<TIn>();
            RefuseNoInput<TIn>();
            return new PipelinePart<TIn, T>(builder);
        }
    }

    private static StartedRun StartWithExit<TIn, T>(PipelineBuilder<TIn, T> builder, PipelineOptions? options) =>
        PipelinePlan.Make(builder.Exit(), options).Start(CancellationToken.None);

    private static ExitStage<T> Exit<T>(StartedRun run) => run.Nodes.OfType<ExitStage<T>>().Single();

    private static void RefuseBranch<TIn>()
    {
        if (typeof(TIn) == typeof(BranchInput))
            throw new InvalidOperationException("A branch is part of a pipeline and cannot be built or started by itself. Return it from the branch function.");
    }

    private static void RefuseNoInput<TIn>()
    {
        if (typeof(TIn) == typeof(NoInput))
            throw new InvalidOperationException("This pipeline has a source of its own and takes no items. Begin with Pipeline.Accept<T>(), or call Build() where its type is known as PipelineEnd<NoInput>, not in generic code.");
    }
}
