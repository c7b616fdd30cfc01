using Puma.Dataflow.Isolation.Worker;

namespace Puma.Dataflow.Isolation.Recipes;

/// <summary>Makes user code of one kind from what the user gave.</summary>
/// <typeparam name="TCode">The kind of code.</typeparam>
/// <param name="userCode">The user's delegate or factory.</param>
/// <param name="options">The options of a runnable, if it has any.</param>
internal delegate TCode CodeMaker<out TCode>(Delegate? userCode, object? options);

/// <summary>Makes the code of a recipe in a child.</summary>
internal delegate HostedCode HostMaker(Recipe recipe, HostSetup setup);

/// <summary>
/// How the user code of a stage is made, wherever it runs: by a maker of the library's own from the user's delegate and an options value.
/// The makers and the delegate travel by their identity, the options as a value.
/// </summary>
internal class Recipe(HostMaker host, Delegate maker, Delegate? userCode, object? options, Type? optionsType, IReadOnlyList<string>? ports = null)
{
    public HostMaker Host => host;

    public Delegate Maker => maker;

    public Delegate? UserCode => userCode;

    public object? Options => options;

    public Type? OptionsType => optionsType;

    /// <summary>The names of the input ports and then of the output ports, for a runnable that has several.</summary>
    public IReadOnlyList<string> Ports => ports ?? [];

    /// <summary>Why the code can be made in this process only; null when it can travel.</summary>
    public string? LocalOnly { get; init; }

    /// <summary>Whether the code may remember things from item to item.</summary>
    public bool HasState { get; init; }

    /// <summary>Why the code cannot be made in another process, and what to do; null when it can.</summary>
    public string? FindProblem() => LocalOnly ?? (userCode is null ? null : DelegateIdentity.FindProblem(userCode));
}

/// <inheritdoc/>
/// <typeparam name="TCode">The kind of code.</typeparam>
internal sealed class Recipe<TCode>(HostMaker host, CodeMaker<TCode> maker, Delegate? userCode, object? options = null, Type? optionsType = null, IReadOnlyList<string>? ports = null)
    : Recipe(host, maker, userCode, options, optionsType, ports)
{
    private readonly CodeMaker<TCode> _maker = maker;

    public TCode Make() => _maker(UserCode, Options);
}
