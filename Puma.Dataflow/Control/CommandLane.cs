namespace Puma.Dataflow.Control;

/// <summary>
/// The commands that wait for one instance, in order of arrival. Any thread adds and takes back; the instance's stream takes. Once closed
/// it refuses all, those that wait and calls that still run included, so that no command is ever lost.
/// </summary>
/// <param name="wake">Makes the stream look. Must not block.</param>
internal sealed class CommandLane(Action wake)
{
    private static readonly AsyncLocal<object?> s_current = new();

    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly LinkedList<Command> _waiting = [];
    private readonly LinkedList<Command> _running = [];
    private CommandRefusal? _refusal;

    // What marks the flow of the instance's user code. Set by its stream, read by any thread.
    private volatile object? _mark;

    /// <summary>Whether the caller is the user code of this instance: what it calls there must run at once, because it would wait for itself.</summary>
    public bool IsCurrent => _mark is { } mark && s_current.Value == mark;

    /// <summary>How many commands wait.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
                return _waiting.Count;
        }
    }

    /// <summary>Marks the flow of the caller, and all that it starts, as this instance's user code.</summary>
    public void Enter() => s_current.Value = _mark ??= new object();

    /// <summary>Forgets the flows marked so far: what they still run is beside the user code from here on. The stream only.</summary>
    public void Leave() => _mark = null;

    public void Add(Command command)
    {
        CommandRefusal? refusal;
        lock (_gate)
        {
            refusal = _refusal;
            if (refusal is null)
                command.Place = _waiting.AddLast(command);
        }

        if (refusal is null)
            wake();
        else
            command.Refuse(refusal);
    }

    /// <summary>Takes a command back that has not been taken.</summary>
    /// <returns>False when it was taken or refused before.</returns>
    public bool TryRemove(Command command)
    {
        lock (_gate)
        {
            if (command.Place?.List != _waiting)
                return false;
            _waiting.Remove(command.Place!);
            command.Place = null;
            return true;
        }
    }

    public bool TryTake([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Command? command)
    {
        lock (_gate)
        {
            if (_waiting.First is not { } first)
            {
                command = null;
                return false;
            }

            command = first.Value;
            _waiting.Remove(first);
            BeginLocked(command, first);
            return true;
        }
    }

    /// <summary>Lets a command run that did not wait.</summary>
    /// <returns>False when it was refused.</returns>
    public bool TryBegin(Command command)
    {
        CommandRefusal? refusal;
        lock (_gate)
        {
            refusal = _refusal;
            if (refusal is null)
                BeginLocked(command, new LinkedListNode<Command>(command));
        }

        if (refusal is null)
            return true;
        command.Refuse(refusal);
        return false;
    }

    /// <summary>Notes that a command has ended that was taken.</summary>
    public void End(Command command)
    {
        lock (_gate)
        {
            if (command.Place?.List == _running)
                _running.Remove(command.Place!);
            command.Place = null;
        }
    }

    private void BeginLocked(Command command, LinkedListNode<Command> place)
    {
        command.Place = command.HasCaller ? place : null;
        if (command.HasCaller)
            _running.AddLast(place);
    }

    /// <summary>Refuses all commands from here on. The first reason stays.</summary>
    public void Close(CommandRefusal refusal)
    {
        Command[] begun, left;
        lock (_gate)
        {
            if (_refusal is not null)
                return;
            _refusal = refusal;
            (begun, left) = ([.. _running], [.. _waiting]);
            _running.Clear();
            _waiting.Clear();
            foreach (Command command in begun.Concat(left))
                command.Place = null;
        }

        foreach (Command command in begun)
            command.Refuse(refusal.Unknown("The member had begun; how far it came is unknown."));
        foreach (Command command in left)
            command.Refuse(refusal);
    }
}
