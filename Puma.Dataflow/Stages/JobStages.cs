using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Jobs;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>Describes the stage whose instances do jobs.</summary>
internal static class JobStages
{
    public static StageDefinition Define(StageOptions options)
    {
        var recipe = new Recipe<ItemHandler<JobCall, JobReply>>(HostedItems<JobCall, JobReply>.Make, static (_, _) => new JobHandler(), userCode: null);
        return new StageDefinition("jobs", options, given =>
        {
            StageSetup setup = given with { ItemTimeoutName = nameof(WorkersOptions.JobTimeout) };
            return setup.Options.Placement is InProcessPlacement
                ? ItemStages.Create(setup, recipe, isOneToOne: true)
                : new ChildStage(setup, ItemStages.Plan(setup, recipe, isOneToOne: true) with { OneAtATime = true, OnSent = OnSent });
        })
        {
            ItemType = typeof(JobCall),
            AllowsParallelism = true,
            HasInstances = true,
            IsOneToOne = true,
            Recipe = recipe,
            CarriedItems = [typeof(JobCall)],
            CarriedResults = [typeof(JobReply)],
        };
    }

    private static void OnSent(HeldInput item, Child child)
    {
        long number = item.Number;
        ((JobCall)item.Untyped!).Ticket!.OnSent(number, child.ProcessId, () => child.Say(FrameType.CancelItem, number, flags: FrameFlags.Canceled));
    }
}
