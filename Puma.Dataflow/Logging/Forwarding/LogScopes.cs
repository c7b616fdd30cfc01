using System.Collections;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>Reads scopes as NLog's loggers do: their values by name, the inner before the outer, and their texts, but for a scope that is nothing but values.</summary>
internal static class LogScopes
{
    public static void Read(IExternalScopeProvider scopes, List<KeyValuePair<string, object?>> properties, List<string> texts) =>
        scopes.ForEachScope(static (scope, all) => Read(scope, all.properties, all.texts), (properties, texts));

    private static void Read(object? scope, List<KeyValuePair<string, object?>> properties, List<string> texts)
    {
        foreach ((string key, object? value) in LogPairs.Of(scope))
        {
            if (key != LogRecord.TemplateName)
                Set(properties, key ?? "", value);
        }

        if (scope is not (IList or IDictionary))
            texts.Add(LogValue.TextOf(scope));
    }

    /// <summary>Adds a value; there are few, so they are looked through.</summary>
    public static void Set(List<KeyValuePair<string, object?>> properties, string key, object? value)
    {
        for (int i = 0; i < properties.Count; i++)
        {
            if (properties[i].Key == key)
            {
                properties[i] = new(key, value);
                return;
            }
        }

        properties.Add(new(key, value));
    }
}
