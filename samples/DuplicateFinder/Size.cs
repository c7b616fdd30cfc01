namespace DuplicateFinder;

/// <summary>Sizes for people.</summary>
internal static class Size
{
    private static readonly string[] Units = ["bytes", "KiB", "MiB", "GiB", "TiB"];

    public static string Of(long bytes)
    {
        double value = bytes;
        int unit = 0;
        for (; value >= 1024 && unit < Units.Length - 1; unit++)
            value /= 1024;
        return unit == 0 ? $"{bytes:N0} {Units[unit]}" : $"{value:N1} {Units[unit]}";
    }
}
