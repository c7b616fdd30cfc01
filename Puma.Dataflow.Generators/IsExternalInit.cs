namespace System.Runtime.CompilerServices;

/// <summary>What the compiler asks for where a property can be set at its object's birth alone; not in netstandard2.0.</summary>
internal static class IsExternalInit;
