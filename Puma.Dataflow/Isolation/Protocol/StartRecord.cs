using System.Buffers;
using Puma.Dataflow.Isolation.Recipes;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>What a child needs to make and run its user code.</summary>
internal sealed record StartRecord
{
    public required string Stage { get; init; }

    public required int Instance { get; init; }

    /// <summary>How many attempts follow the first one.</summary>
    public required int Retries { get; init; }

    /// <summary>Whether a failed item for which no attempt is left ends the stage.</summary>
    public required bool FaultsAtError { get; init; }

    /// <summary>Whether the start of each item is told, so that the parent can measure its time.</summary>
    public required bool TellsItems { get; init; }

    /// <summary>How long an attempt may take by the clock of both, in ticks; 0 when there is no such time or no such clock.</summary>
    public long ItemTimeout { get; init; }

    /// <summary>How long foreign code may take to end, in ticks; negative for ever.</summary>
    public long AbortTimeout { get; init; } = Timeout.InfiniteTimeSpan.Ticks;

    /// <summary>How long the end may take once it was told, in ticks; negative for ever.</summary>
    public long StopGrace { get; init; } = Timeout.InfiniteTimeSpan.Ticks;

    public required bool OwnThread { get; init; }

    /// <summary>In ticks; 0 for none.</summary>
    public required long TickInterval { get; init; }

    public required bool TicksPaused { get; init; }

    /// <summary>For a port whose outputs need no credits, because there are never more of them than items.</summary>
    public const int NoCredits = int.MaxValue;

    /// <summary>How many outputs may be under way, by output port, or <see cref="NoCredits"/>.</summary>
    public required IReadOnlyList<int> Credits { get; init; }

    public required int MaxPayload { get; init; }

    /// <summary>How many short results go out together at most.</summary>
    public required int BurstLength { get; init; }

    /// <summary>The category of what the user code logs.</summary>
    public required string LogCategory { get; init; }

    public required DelegateIdentity Host { get; init; }

    public required DelegateIdentity Maker { get; init; }

    public DelegateIdentity? UserCode { get; init; }

    public string? OptionsType { get; init; }

    /// <summary>The encoded options, when there are any.</summary>
    public ReadOnlyMemory<byte> Options { get; init; }

    public bool OptionsHaveBlocks { get; init; }

    public IReadOnlyList<string> Ports { get; init; } = [];

    /// <summary>Makes the user's codec, if there is one.</summary>
    public DelegateIdentity? Codec { get; init; }

    public IReadOnlyList<string> DerivedTypes { get; init; } = [];

    public void WriteTo(FieldWriter writer)
    {
        writer.Text(Stage);
        writer.Int(Instance);
        writer.Int(Retries);
        writer.Bool(FaultsAtError);
        writer.Bool(TellsItems);
        writer.Long(ItemTimeout);
        writer.Long(AbortTimeout);
        writer.Long(StopGrace);
        writer.Bool(OwnThread);
        writer.Long(TickInterval);
        writer.Bool(TicksPaused);
        Write(Credits, writer);
        writer.Int(MaxPayload);
        writer.Int(BurstLength);
        writer.Text(LogCategory);
        Host.WriteTo(writer);
        Maker.WriteTo(writer);
        Write(UserCode, writer);
        writer.Text(OptionsType);
        writer.Bytes(Options.Span);
        writer.Bool(OptionsHaveBlocks);
        Write(Ports, writer);
        Write(Codec, writer);
        Write(DerivedTypes, writer);
    }

    /// <exception cref="ProtocolViolationException">The bytes are no start record.</exception>
    public static StartRecord ReadFrom(ref FieldReader reader) => new()
    {
        Stage = reader.RequiredText(),
        Instance = reader.Int(),
        Retries = reader.Int(),
        FaultsAtError = reader.Bool(),
        TellsItems = reader.Bool(),
        ItemTimeout = reader.Long(),
        AbortTimeout = reader.Long(),
        StopGrace = reader.Long(),
        OwnThread = reader.Bool(),
        TickInterval = reader.Long(),
        TicksPaused = reader.Bool(),
        Credits = ReadNumbers(ref reader),
        MaxPayload = reader.Int(),
        BurstLength = reader.Int(),
        LogCategory = reader.RequiredText(),
        Host = DelegateIdentity.ReadFrom(ref reader),
        Maker = DelegateIdentity.ReadFrom(ref reader),
        UserCode = ReadIdentity(ref reader),
        OptionsType = reader.Text(),
        Options = reader.Bytes().ToArray(),
        OptionsHaveBlocks = reader.Bool(),
        Ports = ReadTexts(ref reader),
        Codec = ReadIdentity(ref reader),
        DerivedTypes = ReadTexts(ref reader),
    };

    private static void Write(DelegateIdentity? identity, FieldWriter writer)
    {
        writer.Bool(identity is not null);
        identity?.WriteTo(writer);
    }

    private static void Write(IReadOnlyList<string> texts, FieldWriter writer)
    {
        writer.Int(texts.Count);
        foreach (string text in texts)
            writer.Text(text);
    }

    private static void Write(IReadOnlyList<int> numbers, FieldWriter writer)
    {
        writer.Int(numbers.Count);
        foreach (int number in numbers)
            writer.Int(number);
    }

    private static DelegateIdentity? ReadIdentity(ref FieldReader reader) => reader.Bool() ? DelegateIdentity.ReadFrom(ref reader) : null;

    private static string[] ReadTexts(ref FieldReader reader)
    {
        var texts = new string[reader.Count()];
        for (int i = 0; i < texts.Length; i++)
            texts[i] = reader.RequiredText();
        return texts;
    }

    private static int[] ReadNumbers(ref FieldReader reader)
    {
        int[] numbers = new int[reader.Count()];
        for (int i = 0; i < numbers.Length; i++)
            numbers[i] = reader.Int();
        return numbers;
    }
}
