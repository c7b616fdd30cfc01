namespace Puma.Dataflow;

/// <summary>
/// Has the proxy of a control interface made in the interface's own assembly. Needed only when no call of
/// <see cref="PipelineRun.Control{TControl}"/> in the using assembly names the interface itself.
/// </summary>
[AttributeUsage(AttributeTargets.Interface, Inherited = false)]
public sealed class ControlInterfaceAttribute : Attribute;

/// <summary>
/// Marks an interface whose objects stay where they live: as the result or the parameter of a control member the other side gets a proxy.
/// The interface must derive from <see cref="IAsyncDisposable"/>; disposing the proxy ends its lease.
/// </summary>
/// <remarks>
/// An object that a control member returned is disposed once, when its lease ends: with the proxy, with the instance, or when the process
/// of its borrower is lost. One that was given as an argument stays its owner's, and is never disposed; its lease ends in the same way. Calls fail
/// with <see cref="CommandFailedException"/> from then on; disposing the proxy again does nothing.
/// </remarks>
[AttributeUsage(AttributeTargets.Interface, Inherited = false)]
public sealed class RemoteObjectAttribute : Attribute;
