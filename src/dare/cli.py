"""The `dare` command: parse, call one library function, print."""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.table import Table

from dare import __version__
from dare.files import replacing
from dare.terminal import console, message, output, progress, stop_on_signal
from dare.training.alarm import TrainingStoppedError
from dare.training.settings import Settings

if TYPE_CHECKING:
    from dare.anytime.costs import ExitCosts
    from dare.datasets import Benchmark, Sample
    from dare.evaluation import Evaluation
    from dare.images import UnreadableImageError
    from dare.retrieval.embeddings import Embeddings

app = App(
    name="dare",
    version=__version__,
    help="Budget-aware person re-identification: one network, an embedding after every stage.",
    help_format="markdown",
)
data_app = App(name="data", help="Draw, look at and check data sets.")
app.command(data_app)

Root = Annotated[
    Path,
    Parameter(help="Data set: a folder in Market-1501's layout, a folder of your own pictures, or a CSV file."),
]
Layout = Annotated[
    str | None,
    Parameter(help="Layout of the data set: market1501, synthetic or folder; recognised by itself if not given."),
]
SkipUnreadable = Annotated[
    bool, Parameter(negative="", help="Leave unreadable pictures out and count them, instead of refusing.")
]
Device = Annotated[str, Parameter(help="cpu, cuda, cuda:1 or mps.")]
Threads = Annotated[int | None, Parameter(help="CPU threads of torch; all cores if not given.")]
Model = Annotated[Path, Parameter(help="A checkpoint (model.safetensors), or the folder of a training.")]


def main(words: Sequence[str] | None = None) -> None:
    """Run the command; what a user can mend is one line on stderr and exit status 2.

    Args:
        words: the command line behind `dare`; the program's own by default.
    """
    try:
        app(sys.argv[1:] if words is None else words)
    except (ValueError, OSError, ImportError, TrainingStoppedError) as error:
        if os.environ.get("DARE_DEBUG"):
            raise
        console.print(f"dare: {message(error)}")
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("dare: interrupted")
        sys.exit(130)


@data_app.command
def synthetic(
    out: Path,
    /,
    *,
    size: Literal["tiny", "small", "standard"] = "tiny",
    seed: int = 1,
    set: dict[str, float] | None = None,
    processes: int | None = None,
) -> None:
    """Draw the synthetic benchmark: people, cameras and crops in Market-1501's layout.

    Parameters
    ----------
    out
        Folder to make; must not exist, or be empty.
    size
        tiny: about 2,600 pictures; small: about 7,000; standard: the size of Market-1501.
    seed
        Same seed, same pictures.
    set
        Knobs of difficulty, as in `--set.camera-strength 0.3`; docs/synthetic.md lists them.
    processes
        How many draw at once; as many as there are cores if not given.
    """
    from dare.datasets.synthetic import SIZES, draw_benchmark

    known = {field.name: field.type for field in fields(SIZES[size])}
    knobs: dict[str, Any] = {}
    for name, value in (set or {}).items():
        knob = name.replace("-", "_")
        if knob not in known:
            raise ValueError(f"unknown knob {name}; choose {', '.join(known)}")
        knobs[knob] = int(value) if known[knob] in (int, "int") else value
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is half drawn is removed
    with progress() as show:
        count = draw_benchmark(
            out,
            size,
            seed=seed,
            recipe=replace(SIZES[size], **knobs),
            processes=processes,
            on_progress=lambda done, total: show("drawing", done, total),
        )
    output.print(f"{count} pictures in {out}")


@data_app.command(name="check")
def check_data(root: Root, /, *, layout: Layout = None) -> None:
    """Say what is in a data set: people, cameras, pictures, oddities, unreadable files."""
    from dare.checking import check

    with progress() as show:
        found = check(root, layout, on_progress=lambda done, total: show("reading", done, total))
    benchmark = found.benchmark
    output.print(f"{root}: read as {benchmark.name}")
    table = Table("", *found.splits)
    splits = found.splits.values()
    unknown = None if benchmark.cameras_known else "-"
    table.add_row("people", *(str(split.people) for split in splits))
    table.add_row("cameras", *(unknown or str(split.cameras) for split in splits))
    table.add_row("images", *(str(split.images) for split in splits))
    table.add_row("people seen by one camera only", *(unknown or str(split.single_camera) for split in splits))
    table.add_row("people with one image only", *(str(split.single_image) for split in splits))
    table.add_row("junk (person -1)", *(str(split.junk) for split in splits))
    table.add_row("distractors (person 0)", *(str(split.distractors) for split in splits))
    output.print(table)
    for note in benchmark.notes:
        output.print(f"note: {note}")
    if found.unmatched:
        output.print(f"note: {found.unmatched} queries have no valid match in the gallery")
    for problem in found.problems:
        output.print(f"unreadable: {problem}")
    if found.problems:
        output.print(f"{len(found.problems)} unreadable pictures; training and embedding refuse them by default")
        sys.exit(3)


@app.command
def train(
    root: Root,
    run: Path,
    /,
    *,
    preset: Literal["paper", "slim", "demo"] = "slim",
    init: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    layout: Layout = None,
    device: Device = "cpu",
    threads: Threads = None,
    memory_map: Annotated[bool, Parameter(negative="")] = False,
    skip_unreadable: SkipUnreadable = False,
    tensorboard: Annotated[bool, Parameter(negative="")] = False,
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
        pictures). The options below replace single settings of it.
    init
        Checkpoint to start from (fine-tuning); its network is taken over.
    resume
        Go on with the run in this folder.
    memory_map
        Keep decoded pictures in a file of the run's folder instead of in memory.
    tensorboard
        Also write TensorBoard events into the run's folder.
    """
    from dare.datasets import open_benchmark
    from dare.training.config import PRESETS, configure
    from dare.training.train import train as train_network

    _limit_threads(threads)
    given = {name: value for name, value in asdict(settings or Settings()).items() if value is not None}
    config = configure(PRESETS[preset], given, init)
    benchmark = open_benchmark(root, layout)
    for note in benchmark.notes:
        console.print(f"note: {note}")
    with stop_on_signal() as stopping, progress() as show:

        def on_progress(now: Any) -> None:
            last = f"loss {list(now.losses.values())[-1]:.3f}" if now.losses else ""
            show(now.phase, now.done, now.total, last)
            if stopping() and now.phase == "pictures":
                raise SystemExit(0)  # nothing has been trained yet, so there is nothing to save

        skipped: list[UnreadableImageError] | None = [] if skip_unreadable else None
        checkpoint = train_network(
            benchmark.train,
            run,
            config,
            init=init,
            resume=resume,
            device=device,
            memory_map=memory_map,
            skipped=skipped,
            tensorboard=tensorboard,
            data_name=benchmark.name,
            on_progress=on_progress,
            should_stop=stopping,
        )
    _report_skipped(skipped)
    done = checkpoint.training["iterations"]
    if done < config.iterations:
        output.print(f"stopped after {done} of {config.iterations} iterations, saved in {run}; go on with --resume")
        return
    output.print(f"trained for {done} iterations; the model is in {run}")


@dataclass(frozen=True, slots=True)
class Running:
    """How a network is run over pictures."""

    crops: Annotated[
        Literal[1, 10],
        Parameter(help="10 takes the mean over five crops and their mirror images, at ten times the cost."),
    ] = 1
    batch_size: Annotated[int, Parameter(help="Pictures that are run together.")] = 64
    device: Device = "cpu"
    precision: Annotated[Literal["fp32", "bf16"], Parameter(help="Of the trunk.")] = "fp32"
    threads: Threads = None
    skip_unreadable: SkipUnreadable = False


RunningOptions = Annotated[Running | None, Parameter(name="*")]


@app.command
def embed(
    root: Root,
    out: Path,
    /,
    *,
    model: Model,
    split: list[Literal["train", "query", "gallery"]] | None = None,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """Write the vectors of a data set's pictures at every stage to an .npz file.

    A call that was interrupted goes on where it stopped when it is made again.

    Parameters
    ----------
    out
        File to write.
    split
        Which pictures; query and gallery if not given.
    """
    from dare.datasets import open_benchmark

    benchmark = open_benchmark(root, layout)
    samples = [sample for name in split or ("query", "gallery") for sample in getattr(benchmark, name)]
    parts = out.with_name(f".{out.name}.parts")
    try:
        embeddings, _, _ = _embed(benchmark, samples, model, running or Running(), parts)
        embeddings.save(out)
        shutil.rmtree(parts, ignore_errors=True)
    finally:
        with suppress(OSError):
            parts.rmdir()  # where nothing was finished there is nothing to keep
    output.print(f"{len(embeddings)} pictures, {len(embeddings.exits())} exits, in {out}")


@app.command(name="evaluate")
def evaluate_command(
    root: Root,
    /,
    *,
    model: Model | None = None,
    embeddings: Path | None = None,
    distance: Literal["euclidean", "cosine"] = "euclidean",
    rule: Literal["official", "step"] = "official",
    report: Path | None = None,
    json: Path | None = None,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """Score every exit of a network on a data set's queries and gallery, or embeddings from elsewhere.

    The network may have been trained on another data set. Exit status 1 if no query has a valid match.

    Parameters
    ----------
    embeddings
        An .npz file instead of a model: what `dare embed` wrote, or arrays `vectors` (N, D) and `ids`
        (picture file names).
    distance
        Euclidean as DaRe is trained for, or cosine.
    rule
        Of average precision: official (the code of Market-1501) or step (torchreid, fast-reid).
    report
        HTML file to write: accuracy and cost per exit, ranked lists of a few probes.
    json
        JSON file to write the figures to.
    """
    from dare.datasets import open_benchmark
    from dare.evaluation import evaluate
    from dare.retrieval.embeddings import Embeddings

    if (model is None) == (embeddings is None):
        raise ValueError("give either --model or --embeddings")
    running = running or Running()
    benchmark = open_benchmark(root, layout)
    samples = (*benchmark.query, *benchmark.gallery)
    if model is not None:
        vectors, costs, skipped = _embed(benchmark, samples, model, running)
        left_out = [problem.path.relative_to(benchmark.root).as_posix() for problem in skipped]
    else:
        vectors, costs = Embeddings.load(str(embeddings)), None
        left_out = vectors.lacking(benchmark.identify(samples)) if running.skip_unreadable else []
    result = evaluate(vectors, benchmark, distance=distance, rule=rule, costs=costs, skipped=left_out)
    _show(result)
    if json:
        with replacing(json) as file:
            file.write((dumps({**result.figures(), "version": __version__}, indent=2) + "\n").encode())
    if report:
        from dare.report import write_report

        write_report(report, result)
        output.print(f"report: {report}")
    if not result.results[0].scores.matched.any():
        console.print(f"dare: {_why_nothing_matches(result.benchmark)}")
        sys.exit(1)


def _embed(
    benchmark: "Benchmark", samples: "Sequence[Sample]", model: Path, running: Running, resume: Path | None = None
) -> "tuple[Embeddings, ExitCosts, list[UnreadableImageError]]":
    """Vectors of samples, what the exits cost, and the pictures that were left out."""
    from dare.embedding import embed as embed_samples
    from dare.runners.runner import open_runner

    _limit_threads(running.threads)
    runner = open_runner(model, "eager", precision=running.precision, device=running.device)
    skipped: list[UnreadableImageError] | None = [] if running.skip_unreadable else None
    with progress() as show:
        embeddings = embed_samples(
            runner,
            list(dict.fromkeys(samples)),
            root=benchmark.root,
            crops=running.crops,
            batch_size=running.batch_size,
            resume=resume,
            skipped=skipped,
            on_progress=lambda done, total: show("embedding", done, total),
        )
    _report_skipped(skipped)
    return embeddings, runner.costs.times(running.crops), skipped or []


def _report_skipped(skipped: "list[UnreadableImageError] | None") -> None:
    for problem in skipped or []:
        console.print(f"left out: {problem}")
    if skipped:
        output.print(f"note: {len(skipped)} unreadable pictures were left out")


def _why_nothing_matches(benchmark: "Benchmark") -> str:
    cameras = {sample.camera for sample in (*benchmark.query, *benchmark.gallery)}
    if len(cameras) == 1 and benchmark.cameras_known:
        reason = f"all pictures are from camera {cameras.pop()}, and matches within a camera do not count"
        return f"no query has a valid match: {reason}; add a second camera, or leave camera numbers out"
    people = {sample.person for sample in benchmark.query} & {sample.person for sample in benchmark.gallery}
    reason = "seen by no other camera there" if people else "nobody on the queries is in the gallery"
    return f"no query has a valid match in the gallery ({reason}), so there is nothing to score; check the labels"


def _show(result: "Evaluation") -> None:
    benchmark = result.benchmark
    queries = len(result.query)
    output.print(f"{benchmark.name}: {queries} queries, {len(result.gallery)} gallery entries, {result.distance}")
    table = Table("exit", "rank-1", "rank-5", "rank-10", "mAP", "mINP", "multiply-adds")
    for stage in result.results:
        scores = stage.scores
        figures = [*(scores.cmc(rank) for rank in (1, 5, 10)), scores.mean_average_precision]
        figures.append(scores.mean_inverse_negative_penalty)
        macs = "unknown" if stage.macs is None else f"{stage.macs / 1e6:,.1f} M"
        name = stage.name if stage.is_exit else f"({stage.name})"
        table.add_row(name, *(f"{100 * figure:.1f}" for figure in figures), macs)
    output.print(table)
    output.print(f"in percent; average precision by the {result.rule} rule; (in brackets: no exit of its own)")
    if result.costs:
        output.print(f"multiply-adds: {result.costs.source}")
    for note in result.notes:
        output.print(f"note: {note}")


def _limit_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
