"""`dare train`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dare.cli.options import FLAG, Device, Layout, Root, SkipUnreadable, limit_threads
from dare.cli.terminal import console, output, progress, say, stop_on_signal
from dare.cli.vectors import report_skipped
from dare.datasets import open_benchmark
from dare.datasets.folder import pictures_below
from dare.images.reading import UnreadableImageError

if TYPE_CHECKING:
    from dare.training.config import TrainConfig

Preset = Literal["paper", "slim", "lite", "demo", "trinet", "ide", "lsro", "svdnet", "pan", "mscan", "st-rnn"]


@dataclass(frozen=True, slots=True)
class Common:
    """Settings that people change often; None leaves the preset's or the file's value.

    Parameters
    ----------
    backbone
        resnet18, resnet34, resnet50, densenet121, densenet161, densenet169, densenet201, lite0, lite1, lite2,
        mobilenetv2, alexnet, mscan, slim, tiny, omni, omni75, omni50, omni25, or timm/NAME (a convolutional network).
    weights
        What the trunk starts from: imagenet, none (random), a file, or teacher (the file given as --teacher).
    height
        Of the network's input, in pixels.
    width
        Of the network's input, in pixels.
    iterations
        Batches to train on; the schedule stretches or shrinks with it.
    sizes
        Train on pictures that grow, as in --sizes 128x64:2500,256x128:700: height x width : iterations, the network's
        size last. The training ends with the last of them. none for one size.
    seed
        Same seed, same run, on one machine, in one precision and number of threads.
    """

    backbone: str | None = None
    weights: str | None = None
    height: int | None = None
    width: int | None = None
    iterations: int | None = None
    sizes: str | None = None
    seed: int | None = None


def train(
    root: Root,
    run: Path,
    /,
    *,
    preset: Preset | None = None,
    config: Path | None = None,
    common: Annotated[Common | None, Parameter(name="*")] = None,
    set: Annotated[list[str] | None, FLAG] = None,
    show_settings: Annotated[bool, FLAG] = False,
    init: Path | None = None,
    resume: Annotated[bool, FLAG] = False,
    unlabelled: Annotated[list[Path] | None, FLAG] = None,
    teacher: Path | None = None,
    device: Device = "cpu",
    threads: Annotated[int | None, Parameter(help="CPU threads of torch; all cores if not given.")] = None,
    memory_map: Annotated[bool, FLAG] = False,
    tensorboard: Annotated[bool, FLAG] = False,
    skip_unreadable: SkipUnreadable = False,
    layout: Layout = None,
) -> None:
    """Train a network on a data set's training pictures.

    Leaves model.safetensors, metrics.csv, config.toml and resume.safetensors in the run's folder. SIGTERM and Ctrl-C
    save before they stop; `--resume` goes on from there, bit for bit.

    A setting comes from the preset; a file (`--config`) replaces the preset's value, and `--set` or an option of its
    own replaces the file's.

    Parameters
    ----------
    run
        Folder of the run.
    preset
        All settings at once: `paper` (DaRe(R) with random erasing, 60,000 iterations, made for a GPU and
        ImageNet weights), `slim` (our trunk for CPUs, from random weights; the default), `lite` (a small trunk for
        CPUs that follows a teacher), `demo` (two minutes, synthetic pictures). The others are what the paper compares
        with.
    config
        TOML file of settings, such as the config.toml of another run. It may leave settings out.
    set
        Any setting, as in `--set erasing=0.3`; may be given several times. `--show-settings` lists them.
    show_settings
        Print every setting of the run as `--config` reads it, and don't train.
    init
        Checkpoint to start from (fine-tuning); its network and input are taken over.
    resume
        Go on with the run in this folder. Its config.toml gives the settings, unless `--preset` or `--config` does.
    unlabelled
        Folder of pictures without known people, which the term `teacher` and preset `lsro` learn from as well; may be
        given several times. `--set generated_images=16` says how many of them come into a batch.
    teacher
        A network whose vectors the term `teacher` follows: a checkpoint, an export, or another toolbox's network.
    memory_map
        Keep decoded pictures in a file of the run's folder instead of in memory.
    tensorboard
        Also write TensorBoard events into the run's folder.
    """
    import tomli_w

    from dare.runners.opening import open_runner
    from dare.training.presets import CONFIG_FILE, flat

    limit_threads(threads)
    if resume and preset is None and config is None:
        config = run / CONFIG_FILE
        if not config.exists():
            raise ValueError(f"{run} has no {CONFIG_FILE}; give the --preset or --config that it was trained with")
    settings = _settings(preset or "slim", config, common or Common(), set or (), init)
    if show_settings:
        output.print(tomli_w.dumps(flat(settings)), end="")
        return
    settings = _with_teacher(settings, teacher)
    benchmark = open_benchmark(root, layout)
    say(benchmark.notes)
    skipped: list[UnreadableImageError] | None = [] if skip_unreadable else None
    done = _train(
        run,
        settings,
        samples=benchmark.train,
        init=init,
        resume=resume,
        device=device,
        generated=[path for folder in unlabelled or [] for path in pictures_below(folder)],
        # bf16 by OpenVINO takes a quarter of the time, and is far finer than a network follows.
        teacher=open_runner(teacher, precision="bf16" if teacher.suffix == ".xml" else None) if teacher else None,
        memory_map=memory_map,
        skipped=skipped,
        tensorboard=tensorboard,
        data_name=benchmark.name,
    )
    report_skipped(skipped)
    if done < settings.iterations:
        output.print(f"stopped after {done} of {settings.iterations} iterations, saved in {run}; go on with --resume")
    else:
        output.print(f"trained for {done} iterations; the model is in {run}")


def _settings(
    preset: Preset, file: Path | None, common: Common, more: Sequence[str], init: Path | None
) -> "TrainConfig":
    from dare.training.presets import PRESETS, configure, parse_setting, read_settings

    start = read_settings(file, PRESETS[preset]) if file else PRESETS[preset]
    given = {name: value for name, value in asdict(common).items() if value is not None}
    given |= dict(map(parse_setting, more))
    settings = configure(start, given, init)
    if "sizes" in given and "iterations" not in given and settings.iterations < start.iterations:
        console.print(
            f"note: training ends after {settings.iterations:,} iterations, where the sizes end, instead of "
            f"{start.iterations:,}; give sizes for more if that is too early"
        )
    return settings


def _with_teacher(settings: "TrainConfig", teacher: Path | None) -> "TrainConfig":
    """Weights that are the teacher's, by its file."""
    if settings.weights != "teacher":
        return settings
    if teacher is None:
        raise ValueError("the trunk starts from the teacher's weights (--weights teacher); give --teacher or --weights")
    if teacher.suffix != ".xml":
        raise ValueError(
            f"the trunk is to start from the teacher's weights, which {teacher} can't give: that takes the OpenVINO "
            "file of an omni network (.xml); give --weights none or FILE too"
        )
    return replace(settings, weights=str(teacher))


def _train(run: Path, settings: "TrainConfig", **given: Any) -> int:
    """Train with a bar, until the end or a signal; returns how many iterations are done."""
    from dare.training.state import STATE_FILE
    from dare.training.train import train as train_network

    with stop_on_signal() as stopping, progress() as show:

        def on_progress(now: Any) -> None:
            show(now.phase, now.done, now.total, now.remark)
            if stopping() and now.phase != "training":
                saved = (run / STATE_FILE).exists()
                output.print(
                    f"stopped before training went on, saved in {run}; go on with --resume"
                    if saved
                    else "stopped before the first iteration; there is nothing to save yet"
                )
                raise SystemExit(0 if saved else 130)

        checkpoint = train_network(folder=run, config=settings, on_progress=on_progress, should_stop=stopping, **given)
    return int(checkpoint.training["iterations"])
