namespace Puma.Dataflow.Runnables;

/// <summary>Sees inputs with their types.</summary>
internal interface IInputVisitor<out TResult>
{
    TResult Visit<T>(Input<T> input);
}

/// <summary>Sees outputs with their types.</summary>
internal interface IOutputVisitor
{
    void Visit<T>(Output<T> output);
}
