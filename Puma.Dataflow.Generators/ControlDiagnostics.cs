using Microsoft.CodeAnalysis;

namespace Puma.Dataflow.Generators;

/// <summary>What can be wrong with a control interface. Each message says what to do. <c>docs/control-diagnostics.md</c> lists them.</summary>
internal static class ControlDiagnostics
{
    public static readonly DiagnosticDescriptor NotAnInterface = Error(
        "PUMA001",
        "A stage is controlled by an interface",
        "'{0}' is not an interface: declare the members that you want to call in an interface that the runnable implements, and ask for that");

    public static readonly DiagnosticDescriptor OutOfReach = Error(
        "PUMA002",
        "Generated code cannot reach the interface or its member",
        "Generated code cannot reach '{0}': make it and every type that contains it public or internal, and none of them file-local");

    public static readonly DiagnosticDescriptor OpenGeneric = Error(
        "PUMA003",
        "A generic interface has no proxy of its own",
        "'{0}' is generic: remove [ControlInterface], and name it with its type arguments in a call of PipelineRun.Control, or mark an interface that derives from it");

    public static readonly DiagnosticDescriptor NotAMethod = Error(
        "PUMA004",
        "A control interface has methods alone",
        "'{0}' is {1}: replace it by methods that return Task or ValueTask");

    public static readonly DiagnosticDescriptor GenericMethod = Error(
        "PUMA005",
        "A control method is not generic",
        "'{0}' is generic: write one method for each type, or make the interface generic");

    public static readonly DiagnosticDescriptor ReturnType = Error(
        "PUMA006",
        "A control method returns a task or a stream",
        "'{0}' returns '{1}', but the answer may come from another process: return Task or ValueTask, with the result as their type argument, or IAsyncEnumerable<T>");

    public static readonly DiagnosticDescriptor ByReference = Error(
        "PUMA007",
        "A control method takes and returns values",
        "{0} is {1}, which cannot leave its process: pass a value, and return what has changed");

    public static readonly DiagnosticDescriptor SeveralTokens = Error(
        "PUMA008",
        "A control method has one cancellation token",
        "'{0}' has several parameters of type CancellationToken: keep one, and link the tokens where it is called");

    public static readonly DiagnosticDescriptor StaticAbstract = Error(
        "PUMA009",
        "A control interface has no static abstract members",
        "'{0}' is static and abstract, so no proxy can stand in for it: make it an instance method, or move it to another interface");

    public static readonly DiagnosticDescriptor RemoteWithoutDispose = Error(
        "PUMA010",
        "A remote object is released by DisposeAsync",
        "'{0}' is marked with [RemoteObject]: derive it from IAsyncDisposable and not from IDisposable, so that DisposeAsync ends its lease");

    public static readonly DiagnosticDescriptor DisposableControl = Error(
        "PUMA011",
        "A control interface is not disposable",
        "'{0}' derives from '{1}', but what it controls belongs to the run: remove that base, or mark '{0}' with [RemoteObject] if its objects are given and taken by control methods");

    public static readonly DiagnosticDescriptor StreamAsValue = Error(
        "PUMA012",
        "A stream is returned, and by itself",
        "'{0}' has an IAsyncEnumerable<T> in a parameter or in a result: send the values by calls of a method, or return IAsyncEnumerable<T> itself");

    public static readonly DiagnosticDescriptor StreamOfRemotes = Error(
        "PUMA013",
        "A stream does not yield remote objects",
        "'{0}' yields remote objects of type '{1}': yield their keys, and return the object of a key from a method of its own");

    public static readonly DiagnosticDescriptor DelegateAsValue = Error(
        "PUMA014",
        "A delegate or an expression does not leave its process",
        "'{0}' has the delegate or expression '{1}' in a parameter or in its result: pass an object whose interface is marked with [RemoteObject]");

    public static readonly DiagnosticDescriptor RemoteInsideValue = Error(
        "PUMA015",
        "A remote object is a parameter or a result by itself",
        "'{0}' has the remote object '{1}' inside of '{2}': make it a parameter or a result of its own");

    public static readonly DiagnosticDescriptor TokenInsideValue = Error(
        "PUMA016",
        "A cancellation token is a parameter by itself",
        "'{0}' has a CancellationToken in the value '{1}', which cannot leave its process: pass it as a parameter of type CancellationToken");

    private static DiagnosticDescriptor Error(string id, string title, string message) =>
        new(id, title, message, "Puma.Dataflow", DiagnosticSeverity.Error, isEnabledByDefault: true);
}
