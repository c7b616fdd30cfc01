// A camera that is controlled while it plays: paused, resumed and re-timed by typed calls, with its status shown live. It runs in a child
// process; with "--placement inprocess" on a thread. The calls are the same. Ends with 0 when every frame came, once and in order.
using Camera;
using Puma.Dataflow;

const string Usage = "usage: Camera [--placement inprocess|loopback|childprocess] [--frames N] [--rate FRAMES_PER_SECOND]";
Placement placement = Placement.ChildProcess;
int frames = 100;
double rate = 100;
for (int i = 0; i < args.Length; i += 2)
{
    string? value = i + 1 < args.Length ? args[i + 1] : null;
    switch (args[i], value)
    {
        case ("--placement", "inprocess" or "loopback" or "childprocess"):
            placement = value switch { "inprocess" => Placement.InProcess, "loopback" => Placement.Loopback, _ => Placement.ChildProcess };
            break;
        case ("--frames", not null) when int.TryParse(value, out frames) && frames > 0:
        case ("--rate", not null) when double.TryParse(value, out rate) && rate is >= 0.1 and <= 1000:
            break;
        default:
            Console.Error.WriteLine(Usage);
            return 2;
    }
}

await using PipelineRun run = Pipeline
    .From(static o => new PlaybackCamera(o), new CameraOptions(frames), new()
    {
        Name = "camera",
        Placement = placement,
        TickInterval = TimeSpan.FromSeconds(1 / rate),
    })
    .To(static () => new FrameCounter(), new() { Name = "count", BoundedCapacity = 8 })
    .Build()
    .Start();

ICameraControl camera = run.Control<ICameraControl>("camera");
IFrameCounter counter = run.Control<IFrameCounter>("count");
StageStatus arrived = run.Stage("count").Status;
Task showing = ShowAsync(run.Stage("camera").Status); // until the camera has ended

await arrived.WaitAsync<Seen>(s => s.Frames >= (frames + 3) / 4, Timeout.InfiniteTimeSpan);

// What was played before the pause arrives; then nothing comes, whatever the owner does meanwhile.
int paused = await camera.PauseAsync();
await arrived.WaitAsync<Seen>(s => s.Frames >= paused, Timeout.InfiniteTimeSpan);
await using (IStill still = await camera.CaptureAsync())
{
    byte bar = await still.PixelAsync(Picture.BarOf(paused), Picture.Height / 2);
    Console.WriteLine($"still   frame {paused}: brightness {await still.BrightnessAsync():F1}, the bar {bar}");
}

await camera.SetRateAsync(2 * rate);
int count = await counter.CountAsync();
int resumed = await camera.ResumeAsync();
bool isQuiet = (count, resumed) == (paused, paused);

int metered = 0;
await foreach (Light light in camera.MeterAsync())
{
    Console.WriteLine($"meter   frame {light.Frame}: brightness {light.Brightness:F1}");
    if (++metered == 3)
        break;
}

await camera.FinishAsync();
PipelineReport report = await run.Completion;
await showing;

bool isComplete = report.Stage("count").Delivered == frames;
Console.WriteLine(report);
Console.WriteLine($"{(isQuiet ? "no frame" : "FRAMES")} while paused at {paused}; {report.Stage("count").Delivered} of {frames} frames in order");
return isQuiet && isComplete ? 0 : 1;

static async Task ShowAsync(StageStatus status)
{
    await foreach (StatusReport<CameraStatus> report in status.ReadAllAsync<CameraStatus>())
        Console.WriteLine($"status  frame {report.Value.Played}, {report.Value.FramesPerSecond} a second{(report.Value.IsPaused ? ", paused" : "")}");
}
