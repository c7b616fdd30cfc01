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
/// An object that a control member returned is disposed with its lease, which also ends with the instance that lent it or with the
/// connection. An object that was given as an argument stays its owner's.
/// </remarks>
[AttributeUsage(AttributeTargets.Interface, Inherited = false)]
public sealed class RemoteObjectAttribute : Attribute;
