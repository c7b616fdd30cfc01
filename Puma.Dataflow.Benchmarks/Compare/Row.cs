using System.Text.Json.Serialization;

namespace Puma.Dataflow.Benchmarks.Compare;

/// <summary>What one subject reached in one scenario: medians over the rounds.</summary>
/// <param name="Scenario">The scenario.</param>
/// <param name="Capacity">The bound of each buffer.</param>
/// <param name="Subject">The subject.</param>
/// <param name="ItemsPerSecond">Its speed.</param>
/// <param name="NsPerItem">Nanoseconds for one item.</param>
/// <param name="BytesPerItem">Bytes allocated in this process for one item, the building of the pipeline included, which weighs less the more items a run moves.</param>
/// <param name="RatioToTpl">How many times as fast as TPL Dataflow, wired as well as it can be; null where that cannot do the work.</param>
/// <param name="RatioToLimit">How many times as fast as the limit: a plain loop, or a raw socket.</param>
internal sealed record Row(
    [property: JsonPropertyName("scenario")] string Scenario,
    [property: JsonPropertyName("capacity")] int Capacity,
    [property: JsonPropertyName("subject")] string Subject,
    [property: JsonPropertyName("itemsPerSecond")] double ItemsPerSecond,
    [property: JsonPropertyName("nsPerItem")] double NsPerItem,
    [property: JsonPropertyName("bytesPerItem")] double BytesPerItem,
    [property: JsonPropertyName("ratioToTpl")] double? RatioToTpl,
    [property: JsonPropertyName("ratioToLimit")] double? RatioToLimit);
