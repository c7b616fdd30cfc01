using System.Diagnostics.CodeAnalysis;
using System.Linq.Expressions;
using System.Reflection;
using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Goes over the whole public surface, so that no entry point, stage or end is forgotten.</summary>
public sealed class NullArgumentTests : PipelineTest
{
    private static readonly NullabilityInfoContext Nullability = new();

    [Fact] // Puma 42, 96
    public async Task EveryPublicMember_GivenNullForWhatMustNotBe_NamesTheArgument()
    {
        List<string> wrong = [];
        int checkedArguments = 0;
        foreach (MethodBase open in PublicMembers())
        {
            foreach (ParameterInfo parameter in open.GetParameters().Where(MustNotBeNull))
            {
                checkedArguments++;
                Exception? error = await CallWithNullAsync(open, parameter);
                if (error is not ArgumentException argument || argument.ParamName != parameter.Name)
                    wrong.Add($"{open.DeclaringType!.Name}.{open}: {parameter.Name} = null gave {error?.GetType().Name ?? "no exception"} {error?.Message}");
            }
        }

        Assert.True(wrong.Count == 0, string.Join(Environment.NewLine, wrong));
        Assert.True(checkedArguments >= 90, $"Only {checkedArguments} arguments were found: the search is broken.");
    }

    /// <summary>What reflection cannot call: parameters that are spans.</summary>
    [Fact] // Puma 96
    public void NullAmongSeveral_NamesTheArgument()
    {
        Assert.Throws<ArgumentNullException>("others", static () => Numbers.Merge([null!]));
        Assert.Throws<ArgumentNullException>("others", static () => Pipeline.Merge(Numbers, [null!]));
        Assert.Throws<ArgumentNullException>("first", static () => Pipeline.Merge<NoInput, int>(null!));
        Assert.Throws<ArgumentNullException>("branch", static () => Numbers.Broadcast([null!]));
        Assert.Throws<ArgumentNullException>("options", static () => Numbers.Broadcast((StageOptions)null!, static b => b.ForEach(static _ => { })));
    }

    private static PipelineBuilder<NoInput, int> Numbers => Pipeline.From([1, 2, 3]);

    private static IEnumerable<MethodBase> PublicMembers() =>
        from type in typeof(Pipeline).Assembly.GetExportedTypes().Concat(typeof(RunnableHarness).Assembly.GetExportedTypes())
        where !typeof(Exception).IsAssignableFrom(type) && !type.IsInterface && !IsRecord(type) && type != typeof(LogRecorder) && type.DeclaringType is null && type.Namespace != "Puma.Dataflow.Control" /* only generated code calls those */ && !typeof(Delegate).IsAssignableFrom(type)
        from member in type.GetMembers(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
        where member is MethodInfo { IsSpecialName: false } or ConstructorInfo { IsPublic: true }
        let method = (MethodBase)member
        where method.GetCustomAttribute<ObsoleteAttribute>() is not { IsError: true } && !method.GetParameters().Any(static p => p.ParameterType.IsByRefLike)
        select method;

    // Records are plain values: what they hold is checked where it is used.
    private static bool IsRecord(Type type) => type.GetMethod("<Clone>$") is not null || (type.IsValueType && type.GetMethod("PrintMembers", BindingFlags.NonPublic | BindingFlags.Instance) is not null);

    private static bool MustNotBeNull(ParameterInfo parameter)
    {
        Type type = parameter.ParameterType;
        return !type.IsValueType && !type.IsByRef && !type.IsGenericParameter && Nullability.Create(parameter).WriteState == NullabilityState.NotNull;
    }

    private static async Task<Exception?> CallWithNullAsync(MethodBase open, ParameterInfo parameter)
    {
        Type type = open.DeclaringType!.IsGenericTypeDefinition ? Close(open.DeclaringType) : open.DeclaringType;
        var method = (MethodBase)type.GetMemberWithSameMetadataDefinitionAs(open);
        if (method is MethodInfo { IsGenericMethodDefinition: true } generic)
            method = generic.MakeGenericMethod([.. generic.GetGenericArguments().Select(Argument)]);
        object?[] arguments = [.. method.GetParameters().Select(p => p.Position == parameter.Position ? null : Value(p.ParameterType))];
        try
        {
            object? result = method is ConstructorInfo constructor
                ? constructor.Invoke(arguments)
                : method.Invoke(method.IsStatic ? null : Value(type), arguments);
            if (result is Task task)
                await task.Within();
            return null;
        }
        catch (TargetInvocationException error)
        {
            return error.InnerException;
        }
        catch (ArgumentException error)
        {
            return error;
        }
    }

    private static Type Close(Type open) => open.MakeGenericType([.. open.GetGenericArguments().Select(Argument)]);

    private static Type Argument(Type parameter) => parameter.Name switch
    {
        "TRunnable" => typeof(Ports),
        "TIn" when parameter.DeclaringType is { } owner && (owner.Name.StartsWith("PipelineBuilder", StringComparison.Ordinal) || owner.Name.StartsWith("PortBuilder", StringComparison.Ordinal)) => typeof(NoInput),
        _ => typeof(string),
    };

    /// <summary>A value that is good enough not to be the reason of an error.</summary>
    [SuppressMessage("Maintainability", "CA1502:Avoid excessive complexity", Justification = "A table.")]
    private static object? Value(Type type)
    {
        if (type == typeof(string))
            return "x";
        if (type == typeof(TimeSpan) || type == typeof(TimeSpan?))
            return TimeSpan.FromSeconds(1);
        if (type == typeof(int) || type == typeof(long))
            return Convert.ChangeType(1, type);
        if (type.IsValueType)
            return Activator.CreateInstance(type);
        if (type.IsAssignableFrom(typeof(Exception)) && type != typeof(object))
            return new InvalidOperationException();
        if (typeof(LambdaExpression).IsAssignableFrom(type))
            return Selector(type);
        if (typeof(Delegate).IsAssignableFrom(type))
            return Lambda(type);
        if (type == typeof(ErrorPolicy))
            return ErrorPolicy.Retry(1);
        if (type == typeof(ErrorPolicy<string>))
            return ErrorPolicy.DeadLetter(new BufferBlock<DeadLetter<string>>());
        if (type == typeof(StageOptions) || type == typeof(PipelineOptions) || type == typeof(IEqualityComparer<string>))
            return null;
        if (type == typeof(Runnable<string, string>))
            return new Echo();
        if (type == typeof(SinkRunnable<string>))
            return new SinkProbe<string>();
        if (type == typeof(SourceRunnable<string>))
            return new SourceProbe<string>();
        if (type == typeof(PipelineBuilder<NoInput, string>))
            return Pipeline.From(["a"]);
        if (type == typeof(PipelineBuilder<string, string>))
            return Pipeline.Accept<string>();
        if (type == typeof(PipelinePart<string, string>))
            return Pipeline.Accept<string>().Transform(static x => x).AsPart();
        if (type == typeof(PipelineEnd<NoInput>))
            return Pipeline.From(["a"]).ForEach(static _ => { });
        if (type == typeof(PipelineEnd<string>))
            return Pipeline.Accept<string>().ForEach(static _ => { });
        if (type == typeof(PartitionBuilder<string, string>))
            return Pipeline.Accept<string>().PartitionBy(static x => x);
        if (type == typeof(RouteBuilder<string, string>))
            return Pipeline.Accept<string>().Route();
        if (type == typeof(RouteBuilder<string, string, string>))
            return Pipeline.Accept<string>().Route().When(static _ => true, static b => b.Transform(static x => x));
        if (type == typeof(PortBuilder<NoInput, Ports>))
            return Pipeline.From(["a"]).Into(static () => new Ports(), static r => r.First);
        if (type == typeof(SharedCompletion))
            return new SharedCompletion(static _ => default);
        if (type == typeof(BranchBuilder<string>))
            return Branch();
        if (type == typeof(PipelineRun))
            return Pipeline.From(["a"]).ForEach(static _ => { }).Build(new() { LoggerFactory = new LogRecorder() }).Start();
        if (type == typeof(PipelineRun<string>))
            return Pipeline.Accept<string>().ForEach(static _ => { }).Build(new() { LoggerFactory = new LogRecorder() }).Start();
        if (type == typeof(BroadcastHandle<string>))
            return Pipeline.Accept<string>().Broadcast().Build(new() { LoggerFactory = new LogRecorder() }).Start().Broadcast<string>("broadcast");
        if (type == typeof(Workers))
            return Workers.Create(new() { LoggerFactory = new LogRecorder() });
        if (type == typeof(StageStatus))
            return ((PipelineRun)Value(typeof(PipelineRun))!).Stage("from").Status;
        if (type == typeof(PortHarness<Ports>))
            return RunnableHarness.For(static () => new Ports());
        if (type == typeof(SourceProbe<string>))
            return new SourceProbe<string>();
        if (type == typeof(PipelineSnapshot))
            return new PipelineSnapshot { State = RunState.Running, Stages = [], Links = [] };
        if (type == typeof(LogCapture))
            return new LogCapture();
        if (type == typeof(IPropagatorBlock<string, string>) || type == typeof(ITargetBlock<string>) || type == typeof(ISourceBlock<string>))
            return new BufferBlock<string>();
        if (type == typeof(IEnumerable<string>))
            return Array.Empty<string>();
        if (type == typeof(IAsyncEnumerable<string>))
            return Pipeline.From(["a"]).ToAsyncEnumerable();
        if (type == typeof(ChannelReader<string>))
            return Channel.CreateUnbounded<string>().Reader;
        if (type == typeof(ChannelWriter<string>))
            return Channel.CreateUnbounded<string>().Writer;
        throw new NotSupportedException($"This test has no value of type {type}: add one.");
    }

    private static object Branch()
    {
        BranchBuilder<string> branch = null!;
        Pipeline.From(["a"]).Broadcast(b =>
        {
            branch = b;
            return b.ForEach(static _ => { });
        });
        return branch;
    }

    private static object Selector(Type type) =>
        type == typeof(Expression<Func<Ports, Input<string>>>)
            ? (Expression<Func<Ports, Input<string>>>)(static r => r.Second)
            : (Expression<Func<Ports, Output<string>>>)(static r => r.Out);

    private static Delegate Lambda(Type type)
    {
        MethodInfo invoke = type.GetMethod("Invoke")!;
        return Expression.Lambda(type, Expression.Default(invoke.ReturnType), [.. invoke.GetParameters().Select(static p => Expression.Parameter(p.ParameterType))]).Compile();
    }

    public sealed class Ports : PortRunnable
    {
        public Input<string> First { get; } = new((_, _) => default);

        public Input<string> Second { get; } = new((_, _) => default);

        public Output<string> Out { get; } = new();
    }

    private sealed class Echo : Runnable<string, string>
    {
        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);
    }
}
