namespace Puma.Dataflow.Control;

/// <summary>
/// The commands that wait for one instance, in order of arrival. Any thread adds and takes back; the instance's stream takes. Once closed
/// it refuses all, those that wait included, so that no command is ever lost.
/// </summary>
/// <param name="wake">Makes the stream look. Must not block.</param>
internal sealed class CommandLane(Action wake)
{
    private static readonly AsyncLocal<CommandLane?> s_current = new();

    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly LinkedList<Command> _waiting = [];
    private CommandRefusal? _refusal;

    /// <summary>Whether the caller is the user code of this instance: what it calls there must run at once, because it would wait for itself.</summary>
    public bool IsCurrent => s_current.Value == this;

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
    public void Enter() => s_current.Value = this;

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
            if (command.Place is null)
                return false;
            _waiting.Remove(command.Place);
            command.Place = null;
            return true;
        }
    }

    public bool TryTake([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Command? command)
    {
        lock (_gate)
        {
            command = _waiting.First?.Value;
            if (command is null)
                return false;
            _waiting.RemoveFirst();
            command.Place = null;
            return true;
        }
    }

    /// <summary>Refuses all commands from here on. The first reason stays.</summary>
    public void Close(CommandRefusal refusal)
    {
        Command[] left;
        lock (_gate)
        {
            if (_refusal is not null)
                return;
            _refusal = refusal;
            left = [.. _waiting];
            _waiting.Clear();
            foreach (Command command in left)
                command.Place = null;
        }

        foreach (Command command in left)
            command.Refuse(refusal);
    }
}
