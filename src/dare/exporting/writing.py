"""From a network to a folder of exported steps that has been compared with it."""

import errno
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import Benchmark
from dare.exporting.formats import FORMATS, check_choice
from dare.exporting.graphs import step_graphs
from dare.exporting.parity import (
    MOST_LOSS,
    Accuracy,
    ExitParity,
    LossError,
    Parity,
    accuracy,
    compare,
    in_words,
    too_far,
    too_inexact,
)
from dare.exporting.pictures import choose_pictures, read_pictures
from dare.files import replacing_folder
from dare.models.checkpoints import Checkpoint, load_checkpoint
from dare.models.dare import DaRe
from dare.runners.eager import EagerRunner
from dare.runners.exported import ExportedRunner, ExportedStep, ExportError, Manifest, read_manifest
from dare.runners.network import Network
from dare.runners.runner import MANIFEST

COMPARED_PICTURES = 64
BATCH = 8
RANDOM_INPUTS = 16

Progress = Callable[[str, int, int], None]
"""Takes what is being done, how much of it, out of how much."""


def export(
    model: Checkpoint | DaRe | Path | str,
    out: Path | str,
    format: str = "onnx",
    *,
    precision: str = "fp32",
    calibrate: Path | str | None = None,
    benchmark: Path | str | None = None,
    int8_steps: Collection[int] | None = None,
    force: bool = False,
    seed: int = 0,
    on_progress: Progress = lambda phase, done, total: None,
) -> Manifest:
    """Write a network's steps for another engine into a folder that `open_runner` opens, also without torch.

    The export is run and compared with the network before the folder is put in place: if anything fails, nothing is
    left behind. An export that is there already is replaced.

    Args:
        model: a checkpoint, where one is, or a `DaRe`, which takes 256x128. It is put into evaluation mode, on the CPU.
        format: "onnx" or "openvino".
        precision: "fp32", "bf16" (openvino alone), or "int8".
        calibrate: data set or folder of pictures that int8 takes its ranges from, and that vectors are compared on;
            random inputs without it.
        benchmark: data set to score network and export on. For int8, people of `calibrate` are held out without it.
        int8_steps: counted from 1; the other steps stay in fp32. All by default.
        force: export also what loses too much, or what cannot be judged.
        seed: of the choice of pictures and people.

    Raises:
        LossError: in fp32 vectors differ by more than rounding; in int8 an exit loses more than half a point of mAP.
        ValueError: settings do not fit each other, or int8 cannot be judged.
        UnreadableImageError: a picture cannot be used.
        FileExistsError: something else than an export is at `out`.
    """
    calibrate, benchmark = (None if path is None else Path(path) for path in (calibrate, benchmark))
    out = Path(out)
    check_choice(format, precision, calibrate, int8_steps)
    _check_place(out)
    if isinstance(model, str | Path):
        if (Path(model) / MANIFEST).exists():
            raise ValueError(f"{model} is an export already; give the checkpoint that it was made from")
        model = load_checkpoint(model)
    reference = EagerRunner(model)
    network = Network.of(model)
    chosen = _chosen(int8_steps, len(network.model.steps)) if precision == "int8" else []
    pictures = choose_pictures(calibrate, benchmark, judged=precision == "int8" and not force, seed=seed)
    if precision == "int8" and pictures.validation is None and not force:
        raise ValueError(
            f"int8 must be judged on people that are told apart, and {calibrate} has none ({pictures.unlabelled}); "
            "give --benchmark, or take --force"
        )
    images, compared = _images(pictures.calibration, network, seed)
    with replacing_folder(out) as folder:
        files = _Files(folder, format, network)
        files.write_steps(precision, on_progress)
        if chosen:
            files.write_int8(chosen, images, on_progress)
        judge = _Judge(reference, files, precision, images[:COMPARED_PICTURES], pictures.validation, on_progress)
        exits = judge.exits(chosen)
        if not force:
            judge.refuse(exits, chosen)
        scored = "" if pictures.validation is None else _in_words(pictures.validation)
        parity = Parity(f"{min(len(images), COMPARED_PICTURES)} {compared}", scored, exits)
        manifest = files.manifest(precision, chosen, asdict(parity))
        files.keep_only(manifest)
        return replace(read_manifest(folder), folder=out)


def _check_place(out: Path) -> None:
    """Only an export, whole and with nothing else in its folder, may be replaced."""
    if Path.cwd().is_relative_to(out.resolve()):
        raise ValueError(f"{out} is the folder that this runs in, or above it; give an export a folder of its own")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        listed = {name for step in read_manifest(out).steps for name in step.files}
        strangers = sorted({path.name for path in out.iterdir()} - listed - {MANIFEST})
        problem = f"holds {strangers[0]}" if strangers else ""
    except (ExportError, OSError):
        problem = "is no export"
    if problem:
        raise FileExistsError(f"{out} exists and {problem}, so it is not replaced; choose another folder, or remove it")


def _chosen(int8_steps: Collection[int] | None, steps: int) -> list[int]:
    """Steps counted from 1, in order."""
    chosen = sorted(set(range(1, steps + 1) if int8_steps is None else int8_steps))
    if not chosen or not 1 <= chosen[0] <= chosen[-1] <= steps:
        raise ValueError(f"--int8-steps must name steps from 1 to {steps}, got {list(int8_steps or [])}")
    return chosen


def _images(paths: Sequence[Path], network: Network, seed: int) -> tuple[NDArray[np.float32], str]:
    if paths:
        return read_pictures(paths, network.preparation), "calibration pictures"
    shape = (RANDOM_INPUTS, 3, network.preparation.height, network.preparation.width)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32), "random inputs"


def _in_words(benchmark: Benchmark) -> str:
    held = ""
    if benchmark.notes and "held out" in benchmark.notes[-1]:
        held = f", {benchmark.notes[-1]} (of calibration; give --benchmark if the network was trained on them)"
    return f"{benchmark.name}: {len(benchmark.query)} queries, {len(benchmark.gallery)} gallery entries{held}"


class _Files:
    """The steps in a folder, each in fp32 and some in int8 too, until a manifest says which are kept."""

    def __init__(self, folder: Path, format: str, network: Network) -> None:
        self._folder, self._format, self._network = folder, format, network
        self._engine = FORMATS[format]
        self._steps: list[ExportedStep] = []
        self._int8: dict[int, dict[str, str]] = {}

    def write_steps(self, precision: str, on_progress: Progress) -> None:
        """All steps, each whole."""
        model, size = self._network.model, self._network.preparation
        for number, graph in enumerate(step_graphs(model, size.height, size.width), start=1):
            shapes = [_shape(port) for port in (*graph.graph.input, *graph.graph.output)]
            given, *results = (
                shape if number == 1 and place == 0 else self._engine.handed_over(shape)
                for place, shape in enumerate(shapes)
            )
            features = results[0] if number < len(model.steps) else None
            dimensions = results[-1][0] if number in model.taps else None
            with _written(self._folder / f"step-{number}"):
                paths = self._engine.write(graph, self._folder / f"step-{number}", number == 1, precision)
            self._steps.append(ExportedStep(_digests(paths), "fp32", given, features, dimensions))
            on_progress("exporting", number, len(model.steps))

    def write_int8(self, chosen: Sequence[int], images: NDArray[np.float32], on_progress: Progress) -> None:
        """Some steps in int8, each calibrated with what the steps before it give in fp32."""
        steps = self.open("fp32", []).steps
        features: Any = images
        for number in range(1, chosen[-1] + 1):
            if number in chosen:
                whole = [self._folder / name for name in self._steps[number - 1].files]
                with _written(self._folder / f"step-{number}-int8"):
                    paths = self._engine.write_int8(whole, features, self._folder / f"step-{number}-int8")
                self._int8[number] = _digests(paths)
            if number < chosen[-1]:
                features = _through(steps, number - 1, features)
            on_progress("calibrating", number, chosen[-1])

    def manifest(self, precision: str, chosen: Collection[int], parity: dict[str, Any]) -> Manifest:
        """What the folder is, once these steps are int8; written there."""
        network = self._network
        fusion = network.model.fusion
        steps = [
            replace(step, files=self._int8[number], precision="int8")
            if number in chosen
            else replace(step, precision="bf16" if precision == "bf16" else "fp32")
            for number, step in enumerate(self._steps, start=1)
        ]
        tools = (*self._engine.tools, *(self._engine.int8_tools if chosen else ()))
        manifest = Manifest(
            self._folder,
            self._format,
            precision,
            network.preparation,
            network.digest,
            network.costs,
            network.stage_names,
            network.model.exit_names,
            None if fusion is None else tuple(fusion.weights.detach().tolist()),
            tuple(steps),
            parity,
            {tool: version(tool) for tool in tools},
        )
        (self._folder / MANIFEST).write_text(manifest.as_json())
        return manifest

    def open(self, precision: str, chosen: Collection[int]) -> ExportedRunner:
        """The export as it would be with these steps in int8."""
        self.manifest(precision, chosen, {})
        return self._engine.runner(self._folder)

    def keep_only(self, manifest: Manifest) -> None:
        """Remove steps that are not in the manifest."""
        kept = {MANIFEST, *(name for step in manifest.steps for name in step.files)}
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink()


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Engines have errors of their own, and few names, for a file that cannot be written."""
    try:
        yield
    except (ExportError, MemoryError):
        raise
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(
            f"{path.name} could not be written ({type(error).__name__}: {first}); free some space, or export to "
            "another disk; if that does not help, in another format"
        ) from error


def _through(steps: Any, number: int, features: Any) -> Any:
    """Feature maps behind a step, a few pictures at a time: all at once would take gigabytes."""
    parts = []
    for start in range(0, len(features), BATCH):
        found = steps.run(number, features[start : start + BATCH], None)
        assert found is not None
        parts.append(np.asarray(found[0]))
    return np.concatenate(parts)


def _shape(port: Any) -> tuple[int, ...]:
    """Of a graph's input or output, without the batch."""
    return tuple(side.dim_value for side in port.type.tensor_type.shape.dim[1:])


def _digests(paths: Sequence[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@dataclass(frozen=True, slots=True)
class _Judge:
    """Compares exports with their network; fields as the arguments of `export`."""

    reference: EagerRunner
    files: _Files
    precision: str
    images: NDArray[np.float32]
    validation: Benchmark | None
    on_progress: Progress

    def exits(self, chosen: Collection[int]) -> tuple[ExitParity, ...]:
        """All exits, where these steps are int8."""
        runner = self.files.open(self.precision, chosen)
        scores: list[tuple[Accuracy, Accuracy]] = []
        if self.validation is not None:
            before = accuracy(self.reference, self.validation, partial(self.on_progress, "scoring the network"))
            after = accuracy(runner, self.validation, partial(self.on_progress, "scoring the export"))
            scores = list(zip(before, after, strict=True))
        return compare(self.reference, runner, self.images, scores)

    def refuse(self, exits: Sequence[ExitParity], chosen: Sequence[int]) -> None:
        """Raise `LossError` for an export that nobody should trust."""
        if self.precision != "int8" and (far := too_far(exits, self.precision)):
            raise LossError(f"the export is not the network, {far}; export for another engine, or take --force")
        bad = too_inexact(exits) if self.precision == "int8" else []
        if bad:
            raise LossError(
                f"int8 loses more than {100 * MOST_LOSS:g} points of mAP: {in_words([exits[n] for n in bad])} "
                f"(all exits: {in_words(exits)}); {self._advice(exits, chosen, bad[0])}"
            )

    def _advice(self, exits: Sequence[ExitParity], chosen: Sequence[int], first_bad: int) -> str:
        """Which first steps can be int8: those before the first bad exit, or fewer, measured anew."""
        taps = [number for number, tapped in enumerate(self.files.open("fp32", []).steps.tapped, start=1) if tapped]
        for last in range(taps[first_bad] - 1, 0, -1):
            fewer = [number for number in chosen if number <= last]
            if fewer and (last == chosen[-1] or last in chosen) and not too_inexact(found := self.exits(fewer)):
                listed = ",".join(str(number) for number in fewer)
                return f"--int8-steps {listed} would do ({in_words(found)}), or take --force"
        return "no choice of first steps would do; export in another precision, or take --force"
