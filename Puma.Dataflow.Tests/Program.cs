using Puma.Dataflow.Tests;
using Puma.Dataflow.Tests.Isolation;
using Xunit.MicrosoftTestingPlatform;

// The tests, or a program that a test starts because it has to die, or to look at a process from outside.
if (Environment.GetEnvironmentVariable(ParentProgram.Explicit) is not null)
    Puma.Dataflow.PumaWorker.RunIfChild();
return args is [ParentProgram.Mark, .. var rest]
    ? await ParentProgram.RunAsync(rest)
    : await TestPlatformTestFramework.RunAsync(args, static (builder, arguments) => builder.AddSelfRegisteredExtensions(arguments));
