using System.Buffers;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What a child says of errors, of its log and of the end fits into a frame, whatever user code puts into it (S3, S40).</summary>
public sealed class RecordTests
{
    // Three bytes each when they travel.
    private static readonly string Long = new('\u20AC', 20_000);
    private static readonly string Key = new('\u20AC', 300);

    [Theory]
    [InlineData("one")]
    [InlineData("wide")]
    [InlineData("deep")]
    [InlineData("wide and deep")]
    [InlineData("remote")]
    public void AnError_OfAnySize_FitsIntoAFrame_AndIsReadAgain(string kind)
    {
        ErrorRecord error = ErrorRecord.Of(Make(kind));
        foreach (Action<FieldWriter> write in (Action<FieldWriter>[])[error.WriteTo, new EndRecord(RunState.Faulted, error).WriteTo])
        {
            var fields = new FieldWriter();
            write(fields);
            Assert.InRange(fields.Length, 1, FrameFormat.MaxControl - 1);
        }

        var log = new FieldWriter();
        new LogRecord { Level = LogLevel.Error, Category = Long, Time = 1, Message = Long, Template = Long + "{A}", Error = error, ErrorText = Long }.WriteTo(log, LogRecord.MaxText);
        Assert.InRange(log.Length, 1, FrameFormat.MaxLog - 1);
        var reader = new FieldReader(new ReadOnlySequence<byte>(log.Written.ToArray()));
        LogRecord read = LogRecord.ReadFrom(ref reader);

        Assert.True(reader.IsAtEnd);
        Assert.StartsWith("\u20AC\u20AC", read.Message, StringComparison.Ordinal);
        RemoteRunnableException told = read.Error!.ToException();
        Assert.NotEmpty(told.Message);
        Assert.InRange(told.InnerExceptions.Count, kind == "one" ? 0 : 1, 16);
    }

    [Fact]
    public void Texts_AreCutBetweenCharacters()
    {
        // Two bytes, then four for each pair of surrogates, then what is no character at all.
        Assert.Equal("\u00E4\u2026", Cut("\u00E4\uD83E\uDDC0", 5));
        Assert.Equal("\u00E4\uD83E\uDDC0", Cut("\u00E4\uD83E\uDDC0", 6));
        Assert.Equal("\uFFFD", Cut("\uD83E", 3));
        Assert.Equal("", Cut("\uD83E", 2));
        Assert.Equal("", Cut("", 0));
        Assert.Null(Cut(null, 0));
        Assert.Equal(Long, Cut(Long, int.MaxValue));
    }

    private static string? Cut(string? text, int maxBytes)
    {
        var fields = new FieldWriter();
        fields.Text(text, maxBytes);
        var reader = new FieldReader(new ReadOnlySequence<byte>(fields.Written.ToArray()));
        string? read = reader.Text();
        Assert.True(reader.IsAtEnd);
        return read;
    }

    private static Exception Make(string kind) => kind switch
    {
        "one" => Verbose(),
        "wide" => new AggregateException(Long, Enumerable.Range(0, 20).Select(static _ => Verbose())),
        "deep" => Enumerable.Range(0, 20).Aggregate(Verbose(), static (inner, _) => Verbose(inner)),
        "wide and deep" => new AggregateException(Enumerable.Range(0, 16).Select(static _ => Verbose(new AggregateException(Enumerable.Range(0, 16).Select(static _ => Verbose()))))),
        _ => new RemoteRunnableException(Long, [.. Enumerable.Repeat(Long, 100)], Long, Long, [.. Enumerable.Range(0, 20).Select(static _ => Verbose())], 1),
    };

    /// <summary>An exception of which every text is long.</summary>
    private static Exception Verbose(Exception? inner = null)
    {
        var error = new VerboseException(inner);
        for (int i = 0; i < 40; i++)
            error.Data[i + Key] = Long;
        return error;
    }

    private sealed class VerboseException(Exception? inner) : Exception(Long, inner)
    {
        public override string StackTrace => Long;
    }
}
