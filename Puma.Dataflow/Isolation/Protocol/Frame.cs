using System.Buffers;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>What a frame says. P: parent to child; C: child to parent.</summary>
internal enum FrameType : byte
{
    None,

    // ---- Control connection. ----

    /// <summary>P: makes and starts the user code; the payload is a <see cref="StartRecord"/>.</summary>
    Start,

    /// <summary>C: the user code has started; Number is 1 when it takes short items in packs.</summary>
    Started,

    /// <summary>C: the user code could not be made or started; the payload is an <see cref="ErrorRecord"/>.</summary>
    StartFailed,

    /// <summary>P: so many (Number) further outputs may be sent from a port.</summary>
    Credit,

    /// <summary>P: all stages have started; a body begins.</summary>
    Begin,

    /// <summary>C: the handling of an item (Number) has begun. Like the next three only if the start record asks for it.</summary>
    Began,

    /// <summary>C: the handler waits for a slot, which is not its time.</summary>
    Waits,

    /// <summary>C: the handler has its slot.</summary>
    GoesOn,

    /// <summary>C: the handler has returned.</summary>
    Returned,

    /// <summary>P: no item above this one (Number) is begun, because this one has failed.</summary>
    Limit,

    /// <summary>P: the time of an item (Number, Attempt) has run out, or with <see cref="FrameFlags.Canceled"/> nobody wants it any more; its token fires.</summary>
    CancelItem,

    /// <summary>P: the failed item is tried again (Attempt).</summary>
    Retry,

    /// <summary>P: the failed item is settled; go on.</summary>
    Proceed,

    /// <summary>P: a source ends as soon as it can.</summary>
    Stop,

    /// <summary>P: no further item is handled.</summary>
    Finish,

    /// <summary>P: everything is given up; all tokens fire.</summary>
    Cancel,

    /// <summary>C: user code asked its stage to end early.</summary>
    FinishRequested,

    /// <summary>C: an item (Number) has just failed; what it says follows on the data connection.</summary>
    Failing,

    /// <summary>P: how the run ends; the payload is an <see cref="EndRecord"/>. C answers with Ended.</summary>
    End,

    /// <summary>C: the user code was told of the end and has returned; a payload is its <see cref="ErrorRecord"/>. The last frame of a child.</summary>
    Ended,

    /// <summary>C: a log record (Number counts them); the payload is a <see cref="LogRecord"/>.</summary>
    Log,

    /// <summary>C: log records were dropped; the payload says how many of each level.</summary>
    LogDropped,

    /// <summary>C: something is logged in a category for the first time; the payload is its name.</summary>
    LogCategory,

    /// <summary>P: log records up to this one (Number) are written; as many more may be sent.</summary>
    LogTaken,

    /// <summary>P: what is to be logged; the payload is a <see cref="LogLevels"/>.</summary>
    LogLevels,

    /// <summary>C: something is reported as a type (Number counts them) for the first time; the payload is its name.</summary>
    StatusType,

    /// <summary>C: a report (Number counts them all) of a type (Port); the payload is a <see cref="StatusRecord"/>.</summary>
    Status,

    /// <summary>P: reports up to this one (Number) have arrived; as many more may be sent.</summary>
    StatusTaken,

    /// <summary>Both ways: a member of a control interface (Number counts them) is called for the first time; the payload is the identity of what finds it.</summary>
    ControlMember,

    /// <summary>Both ways: a call (Number) of a member (Port); the payload is the number of the object and the arguments.</summary>
    Call,

    /// <summary>Both ways: the caller of a call (Number) has given it up. It is answered all the same.</summary>
    CancelCall,

    /// <summary>Both ways: the result of a call (Number).</summary>
    Reply,

    /// <summary>Both ways: a call (Number) has no result; the payload is the failure, the reason and an <see cref="ErrorRecord"/> if something was thrown.</summary>
    CallFailed,

    // ---- Data connection. ----

    /// <summary>P: an item (Number) for an input port.</summary>
    Item,

    /// <summary>P: short items of consecutive numbers (the first one is Number) for an input port; the payload is a <see cref="FramePack"/>. Shown to who reads as so many of Item.</summary>
    PackedItems,

    /// <summary>P: an input port has ended.</summary>
    InputEnded,

    /// <summary>P: all inputs have ended.</summary>
    Complete,

    /// <summary>C: an output of an item (Number; 0 outside of items) from an output port.</summary>
    Result,

    /// <summary>C: an output of an item (Number), which is handled with it. Shown to who reads as Result and Done.</summary>
    LastResult,

    /// <summary>C: outputs of items of consecutive numbers (the first one is Number), one of each, which are handled with them; the payload is a <see cref="FramePack"/>. Shown to who reads as so many of Result and Done.</summary>
    PackedResults,

    /// <summary>C: what follows came after a report; the payload is the report's number. A <see cref="StatusRecord"/> of that number or a higher one is read before it.</summary>
    StatusMark,

    /// <summary>C: an item (Number) was handled.</summary>
    Done,

    /// <summary>C: an item (Number; 0 for the code itself) failed; the payload is an <see cref="ErrorRecord"/>.</summary>
    Failed,

    /// <summary>C: the code has handled all it will and was told that its input has ended.</summary>
    Completed,

    /// <summary>C: the code handles no further item; what it was sent and has not settled is given up.</summary>
    Idle,
}

/// <summary>Details of a frame.</summary>
[Flags]
internal enum FrameFlags : byte
{
    None = 0,

    /// <summary>The payload has blocks out of band.</summary>
    HasBlocks = 1,

    /// <summary>An output of the item was refused, because the stage gives up.</summary>
    WasRefused = 2,

    /// <summary>The item's time had run out before its handler returned.</summary>
    TimedOut = 4,

    /// <summary>The item could not be carried; trying again cannot help.</summary>
    NotCarried = 8,

    /// <summary>The failure is the answer to our own cancellation; of a <see cref="FrameType.CancelItem"/>, that it is one.</summary>
    Canceled = 16,

    /// <summary>Of a <see cref="FrameType.Call"/>: user code of an instance makes it, which handles nothing else meanwhile.</summary>
    HoldsInstance = 32,

    /// <summary>Of a <see cref="FrameType.Call"/>: it comes of a call that holds the instance which is called, so it must not wait for it.</summary>
    Nested = 64,

    /// <summary>Of a <see cref="FrameType.CallFailed"/>: the member has run, it is its result that did not come.</summary>
    HasRun = 128,
}

/// <summary>The header of a frame.</summary>
internal readonly record struct FrameHeader(FrameType Type, ushort Port, byte Attempt, FrameFlags Flags, long Number, int Length);

/// <summary>One received frame. Its payload is valid until the next one is read.</summary>
internal readonly record struct Frame(FrameType Type, ushort Port, byte Attempt, FrameFlags Flags, long Number, ReadOnlySequence<byte> Payload);

/// <summary>The other side sent what no side of this library sends. Never resynchronised: the connection ends, and with it the child.</summary>
internal sealed class ProtocolViolationException(string message, Exception? inner = null) : Exception(message, inner);
