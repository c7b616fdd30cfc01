using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Diagnostics;

/// <summary>All that the library itself logs. The event ids are stable.</summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Debug, "Run of '{Pipeline}' started with {Stages} stages")]
    public static partial void RunStarted(ILogger logger, string pipeline, int stages);

    [LoggerMessage(2, LogLevel.Debug, "Run of '{Pipeline}' takes no more input and drains")]
    public static partial void RunDraining(ILogger logger, string pipeline);

    [LoggerMessage(3, LogLevel.Information, "Run of '{Pipeline}' is being cancelled")]
    public static partial void RunCanceling(ILogger logger, string pipeline);

    [LoggerMessage(4, LogLevel.Error, "Run of '{Pipeline}' faulted. {Cause}")]
    public static partial void RunFaulted(ILogger logger, string pipeline, string cause, Exception? exception);

    [LoggerMessage(5, LogLevel.Debug, "Run of '{Pipeline}' ended {Outcome} after {Duration}")]
    public static partial void RunEnded(ILogger logger, string pipeline, RunState outcome, TimeSpan duration);

    [LoggerMessage(10, LogLevel.Debug, "Stage '{Stage}' started")]
    public static partial void StageStarted(ILogger logger, string stage);

    [LoggerMessage(11, LogLevel.Debug, "Stage '{Stage}' ended {State} ({Reason}): {Accepted} accepted, {Delivered} delivered, {Emitted} emitted")]
    public static partial void StageEnded(ILogger logger, string stage, StageState state, EndReason reason, long accepted, long delivered, long emitted);

    [LoggerMessage(12, LogLevel.Error, "Stage '{Stage}' was abandoned with {Items} items: its user code did not return within {Timeout} of being told to")]
    public static partial void StageAbandoned(ILogger logger, string stage, long items, TimeSpan timeout);

    [LoggerMessage(13, LogLevel.Warning, "Optional branch '{Branch}' was detached because its stage '{Stage}' failed; the run goes on without it. {Error}")]
    public static partial void BranchDetached(ILogger logger, string branch, string stage, string error, Exception? exception);

    [LoggerMessage(14, LogLevel.Debug, "Branch '{Branch}' joined the broadcast '{Broadcast}' with {Stages} stages")]
    public static partial void BranchJoined(ILogger logger, string branch, string broadcast, int stages);

    [LoggerMessage(15, LogLevel.Information, "Branch '{Branch}' did not join the broadcast '{Broadcast}'. {Error}")]
    public static partial void BranchRefused(ILogger logger, string branch, string broadcast, string error, Exception? exception);

    [LoggerMessage(16, LogLevel.Debug, "Branch '{Branch}' of the broadcast '{Broadcast}' has ended")]
    public static partial void BranchEnded(ILogger logger, string branch, string broadcast);

    [LoggerMessage(20, LogLevel.Warning, "Secondary error in '{Where}'. {Error}")]
    public static partial void SecondaryError(ILogger logger, string where, string error, Exception? exception);

    [LoggerMessage(21, LogLevel.Warning, "Stage '{Stage}' discarded {Count} items: {Reason}")]
    public static partial void ItemsDiscarded(ILogger logger, string stage, long count, DiscardReason reason);

    [LoggerMessage(22, LogLevel.Debug, "Stage '{Stage}' discarded {Count} items that nobody wants any more")]
    public static partial void ItemsNotWanted(ILogger logger, string stage, long count);

    [LoggerMessage(23, LogLevel.Information, "Stage '{Stage}' skipped item {Item}: {Error}")]
    public static partial void ItemSkipped(ILogger logger, string stage, long item, string error, Exception? exception);

    [LoggerMessage(24, LogLevel.Information, "Stage '{Stage}' dead-lettered item {Item}: {Error}")]
    public static partial void ItemDeadLettered(ILogger logger, string stage, long item, string error, Exception? exception);

    [LoggerMessage(EventId = 25, Message = "Item {Number}: {Item}")]
    public static partial void ItemPassed(ILogger logger, LogLevel level, long number, object? item);

    [LoggerMessage(26, LogLevel.Information, "A job of '{Workers}' ran, but its caller does not get its result: {Error}")]
    public static partial void ResultNotCarried(ILogger logger, string workers, string error, Exception? exception);

    [LoggerMessage(30, LogLevel.Warning, "Run of '{Pipeline}' has not moved for {Still} although work is queued: {Chain}")]
    public static partial void Stalled(ILogger logger, string pipeline, TimeSpan still, string chain);

    [LoggerMessage(31, LogLevel.Warning, "Run of '{Pipeline}' drained after a fault without progress for {Timeout} and is aborted")]
    public static partial void DrainTimedOut(ILogger logger, string pipeline, TimeSpan timeout);

    [LoggerMessage(32, LogLevel.Warning, "Pipeline '{Pipeline}': {Warning}")]
    public static partial void BuildWarning(ILogger logger, string pipeline, string warning);

    [LoggerMessage(40, LogLevel.Warning, "Stage '{Stage}' lost its child process {ProcessId} with {Items} items: {Exit}")]
    public static partial void ChildLost(ILogger logger, string stage, int processId, string exit, int items);

    [LoggerMessage(41, LogLevel.Information, "Stage '{Stage}' starts a new child process in {Delay} and sends {Items} items again")]
    public static partial void ChildRestarting(ILogger logger, string stage, int items, TimeSpan delay);

    [LoggerMessage(42, LogLevel.Debug, "Stage '{Stage}' started child process {ProcessId} for its instance {Instance}")]
    public static partial void ChildStarted(ILogger logger, string stage, int processId, int instance);

    [LoggerMessage(43, LogLevel.Debug, "Stage '{Stage}' ended its child process {ProcessId}: {Exit}")]
    public static partial void ChildEnded(ILogger logger, string stage, int processId, string exit);

    [LoggerMessage(44, LogLevel.Warning, "Stage '{Stage}': {Count} log records of level {Level} were dropped in its child process, because they came faster than they could be written")]
    public static partial void ChildLogDropped(ILogger logger, string stage, long count, LogLevel level);

    [LoggerMessage(45, LogLevel.Warning, "Stage '{Stage}': {Count} lines that its child process wrote to standard output or error were left out: more than 1,000 in a second, or faster than they could be written")]
    public static partial void ChildLinesLeftOut(ILogger logger, string stage, long count);

    [LoggerMessage(46, LogLevel.Warning, "Stage '{Stage}': {Count} log records of level {Level} were lost with its child process, in which more waited to be written than outlives it")]
    public static partial void ChildLogLost(ILogger logger, string stage, long count, LogLevel level);

    [LoggerMessage(47, LogLevel.Debug, "Stage '{Stage}' started spare child process {ProcessId}")]
    public static partial void SpareStarted(ILogger logger, string stage, int processId);

    [LoggerMessage(48, LogLevel.Information, "Stage '{Stage}' lost its spare child process {ProcessId}, which had no user code yet, or did not start it: {Error}")]
    public static partial void SpareLost(ILogger logger, string stage, int processId, string error);

    [LoggerMessage(49, LogLevel.Warning, "Stage '{Stage}' has one spare child process less than it should: {Count} in a row did not start or were lost, and it tries again, each time after 30 seconds at the longest. {Error}")]
    public static partial void SparesFail(ILogger logger, string stage, int count, string error);

    [LoggerMessage(50, LogLevel.Warning, "A call of {Member} of stage '{Stage}' has taken longer than {Limit} ({Progress}); further ones are not warned of")]
    public static partial void SlowCall(ILogger logger, string member, string stage, TimeSpan limit, string progress);

    [LoggerMessage(51, LogLevel.Warning, "{Member} of stage '{Stage}' gets more than {Limit} calls per second; further seconds are not warned of")]
    public static partial void ChattyCalls(ILogger logger, string member, string stage, int limit);

    [LoggerMessage(52, LogLevel.Warning, "{Member} of stage '{Stage}' failed when nobody waited for it any more: {Error}")]
    public static partial void LateCallFailed(ILogger logger, string member, string stage, string error, Exception? exception);

    [LoggerMessage(53, LogLevel.Warning, "{Member} failed on more than one instance of stage '{Stage}'; its caller got another failure: {Error}")]
    public static partial void PoolCallFailed(ILogger logger, string member, string stage, string error, Exception? exception);
}
