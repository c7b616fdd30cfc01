namespace Puma.Dataflow.Generators;

/// <summary>All that is written about one interface: texts, so that it is equal to another one when the generated code is.</summary>
/// <param name="File">The name of the generated file.</param>
/// <param name="Interface">The interface, fully qualified.</param>
/// <param name="Methods">Its methods and those of its bases.</param>
internal readonly record struct ProxyModel(string File, string Interface, EquatableArray<MethodModel> Methods);

/// <summary>One method of an interface.</summary>
/// <param name="Label">The interface and the method, as people are told of them.</param>
/// <param name="Owner">The interface that declares it, fully qualified.</param>
/// <param name="Name">Its name.</param>
/// <param name="ReturnType">What it returns, fully qualified.</param>
/// <param name="Form">The form in which it answers.</param>
/// <param name="CanReturnNull">There may be no task or stream at all.</param>
/// <param name="Result">What the task or the stream carries, unless it is a mere end.</param>
/// <param name="Parameters">Its parameters, the token among them.</param>
internal readonly record struct MethodModel(
    string Label,
    string Owner,
    string Name,
    string ReturnType,
    MethodForm Form,
    bool CanReturnNull,
    ValueModel? Result,
    EquatableArray<ParameterModel> Parameters);

/// <summary>How a method answers.</summary>
internal enum MethodForm
{
    /// <summary>A Task.</summary>
    Task,

    /// <summary>A ValueTask.</summary>
    ValueTask,

    /// <summary>An IAsyncEnumerable.</summary>
    Stream,

    /// <summary>It ends the lease of a remote object: IAsyncDisposable.DisposeAsync.</summary>
    Release,
}

/// <summary>A parameter: the token, or a value.</summary>
internal readonly record struct ParameterModel(ValueModel Value, bool IsToken);

/// <summary>A value that travels.</summary>
/// <param name="Type">Its type, fully qualified.</param>
/// <param name="IsRemote">A reference travels and the object stays.</param>
/// <param name="CanBeNull">For a remote object: there may be none.</param>
internal readonly record struct ValueModel(string Type, bool IsRemote, bool CanBeNull);
