"""`dare train`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dare.cli.options import Device, Layout, Root, SkipUnreadable, Threads, limit_threads, report_skipped
from dare.cli.settings import Settings
from dare.cli.terminal import console, output, progress, stop_on_signal

if TYPE_CHECKING:
    from dare.images.reading import UnreadableImageError
    from dare.runners.runner import Runner


def train(
    root: Root,
    run: Path,
    /,
    *,
    preset: Literal[
        "paper", "slim", "lite", "demo", "trinet", "ide", "lsro", "svdnet", "pan", "mscan", "st-rnn"
    ] = "slim",
    init: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    layout: Layout = None,
    generated: Path | None = None,
    unlabelled: Annotated[list[Path] | None, Parameter(negative="")] = None,
    teacher: Path | None = None,
    device: Device = "cpu",
    threads: Threads = None,
    memory_map: Annotated[bool, Parameter(negative="")] = False,
    skip_unreadable: SkipUnreadable = False,
    tensorboard: Annotated[bool, Parameter(negative="")] = False,
    show_settings: Annotated[bool, Parameter(negative="")] = False,
    settings: Annotated[Settings | None, Parameter(name="*")] = None,
) -> None:
    """Train a network on a data set's training pictures.

    Leaves model.safetensors, metrics.csv and resume.safetensors in the run's folder. SIGTERM and Ctrl-C save
    before they stop; `--resume` goes on from there, bit for bit.

    Parameters
    ----------
    run
        Folder of the run.
    preset
        All settings at once: `paper` (DaRe(R) with random erasing, 60,000 iterations, made for a GPU and
        ImageNet weights), `slim` (our trunk for CPUs, from random weights), `demo` (two minutes, synthetic
        pictures). The others are what the paper compares with. The options below replace single settings of it.
    init
        Checkpoint to start from (fine-tuning); its network is taken over.
    resume
        Go on with the run in this folder.
    generated
        Folder of pictures that show nobody, such as generated ones, which `--preset lsro` learns from as well.
    unlabelled
        Folder of pictures of people who need not be known, which the term `teacher` learns from as well; may be given
        several times. `--generated-images` says how many of them come into a batch.
    teacher
        A network whose vectors the term `teacher` follows: a checkpoint, exported steps, or another toolbox's network.
    memory_map
        Keep decoded pictures in a file of the run's folder instead of in memory.
    tensorboard
        Also write TensorBoard events into the run's folder.
    show_settings
        Print every setting of the run, the preset's and those given here, and do not train.
    """
    from dare.datasets import open_benchmark
    from dare.datasets.folder import pictures_below
    from dare.training.config import PRESETS, configure
    from dare.training.state import STATE_FILE
    from dare.training.train import train as train_network

    limit_threads(threads)
    given = {name: value for name, value in asdict(settings or Settings()).items() if value is not None}
    config = configure(PRESETS[preset], given, init)
    if show_settings:
        _show_settings(asdict(config))
        return
    benchmark = open_benchmark(root, layout)
    for note in benchmark.notes:
        console.print(f"note: {note}")
    others = [
        path for folder in (*([generated] if generated else []), *(unlabelled or [])) for path in pictures_below(folder)
    ]
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
                raise SystemExit(0)

        skipped: list[UnreadableImageError] | None = [] if skip_unreadable else None
        checkpoint = train_network(
            benchmark.train,
            run,
            config,
            init=init,
            resume=resume,
            device=device,
            generated=others,
            teacher=_open_teacher(teacher) if teacher else None,
            memory_map=memory_map,
            skipped=skipped,
            tensorboard=tensorboard,
            data_name=benchmark.name,
            on_progress=on_progress,
            should_stop=stopping,
        )
    report_skipped(skipped)
    done = checkpoint.training["iterations"]
    if done < config.iterations:
        output.print(f"stopped after {done} of {config.iterations} iterations, saved in {run}; go on with --resume")
        return
    output.print(f"trained for {done} iterations; the model is in {run}")


def _open_teacher(path: Path) -> "Runner":
    """In bfloat16 where OpenVINO runs it: a quarter of the time, and far finer than a network follows."""
    from dare.runners.opening import open_runner

    return open_runner(path, precision="bf16" if path.suffix == ".xml" else None)


def _show_settings(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if isinstance(value, dict):
            _show_settings(value)
        else:
            shown = "none" if name == "weights" and value is None else value
            output.print(f"{name.replace('_', '-')}: {shown}")
