"""A folder of exported steps: its manifest, read and checked, and what runs of both engines have in common."""

import hashlib
import importlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.images.reading import Preparation
from dare.retrieval.distances import Space, check_space
from dare.runners.channels_last import handed_over
from dare.runners.runner import EXPORTED, MANIFEST
from dare.runners.steps import Steps, StepWalk, Stop, Vectors, as_input, exits, to_front

FORMAT = 1
PRECISIONS = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")}
"""Engine -> what it can be exported in. onnxruntime has no convolutions in bfloat16 on CPUs."""

WHOLE = {"onnx": ("fp32",), "openvino": ("fp32", "bf16")}
"""Engine -> precisions that it computes in from the same files; int8 is in the files."""

MICRO_BATCH = 4
"""Pictures that `embed` takes through the whole network together: their feature maps stay in the cache."""


class ExportError(ValueError):
    """A folder that is not a usable export; says which one, why, and what to do."""


@dataclass(frozen=True, slots=True)
class ExportedStep:
    """One stage with its head, as files of an engine.

    Attributes:
        files: name -> SHA-256, the graph first.
        precision: "fp32", "bf16" or "int8".
        input: shape of what goes in, without the batch.
        features: shape of the feature map that comes out; None for the last step.
        dimensions: D of the vectors that come out; None without a tap.
    """

    files: dict[str, str]
    precision: str
    input: tuple[int, ...]
    features: tuple[int, ...] | None
    dimensions: int | None

    @property
    def outputs(self) -> list[tuple[int, ...]]:
        """Shapes of what comes out, without the batch."""
        return [*([self.features] if self.features else []), *([(self.dimensions,)] if self.dimensions else [])]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder of exported steps says of itself; attributes not named here as those of `Runner`.

    Attributes:
        folder: where the steps are.
        engine: a name in `EXPORTED`.
        precision: "int8" also where only some steps are.
        fusion: weights of the tapped steps' vectors in the fused one; None without fusion.
        unit: whether vectors have length 1, the fused one too.
        parity: how close the export came to the network, for people to read.
        tools: name -> version of what wrote it.
    """

    folder: Path
    engine: str
    precision: str
    preparation: Preparation
    digest: str
    costs: ExitCosts
    stage_names: tuple[str, ...]
    exit_names: tuple[str, ...]
    fusion: tuple[float, ...] | None
    steps: tuple[ExportedStep, ...]
    parity: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    unit: bool = False
    space: Space = "own"

    def __post_init__(self) -> None:
        if self.engine not in EXPORTED or self.precision not in PRECISIONS[self.engine]:
            raise ValueError(f"no engine and precision {self.engine!r}, {self.precision!r}")
        if not self.steps or self.steps[0].input != (3, self.preparation.height, self.preparation.width):
            raise ValueError(f"the first step does not take pictures of {self.preparation.size}")
        for before, step in zip(self.steps, self.steps[1:], strict=False):
            if before.features is None or before.features != step.input:
                raise ValueError(f"a step gives {before.features}, the next one takes {step.input}")
        if self.steps[-1].features is not None or self.steps[-1].dimensions is None:
            raise ValueError("the last step must give vectors, and nothing else")
        tapped = sum(step.dimensions is not None for step in self.steps)
        weights = tapped if self.fusion is None else len(self.fusion)
        if {tapped} != {len(self.stage_names), weights, len(self.exit_names), len(self.costs.macs)}:
            raise ValueError(f"names, costs or fusion weights do not fit {tapped} tapped steps")
        check_space(self.space, [step.dimensions for step in self.steps if step.dimensions is not None])

    def as_json(self) -> str:
        """What `read_manifest` reads."""
        fields = asdict(self)
        del fields["folder"]
        return json.dumps({"format": FORMAT, **fields}, indent=1) + "\n"

    def content(self, step: ExportedStep) -> list[bytes]:
        """The step's files.

        Raises:
            ExportError: one is missing, or not the one that was exported.
        """
        found = []
        for name, digest in step.files.items():
            try:
                content = (self.folder / name).read_bytes()
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise ExportError(
                    f"{self.folder / name} cannot be read ({reason}); take another copy of the folder, or export again"
                ) from error
            if hashlib.sha256(content).hexdigest() != digest:
                raise ExportError(
                    f"{self.folder / name} is damaged or of another export: its SHA-256 is not the one in {MANIFEST}; "
                    "take another copy of the whole folder, or export again"
                )
            found.append(content)
        return found

    def misfit(self, step: ExportedStep, reason: object) -> ExportError:
        """The error for files that are whole but not what the manifest says, or that the engine cannot run."""
        lines = str(reason).strip().splitlines()
        return ExportError(
            f"{self.folder / next(iter(step.files))} does not fit {MANIFEST}, or this version of {self.engine} cannot "
            f"run it ({lines[0] if lines else type(reason).__name__}); export again"
        )


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder of exported steps says of itself; the steps' files are not opened.

    Raises:
        ExportError: missing, damaged, of another format, or with parts that do not fit each other.
    """
    file = folder / MANIFEST
    try:
        fields = json.loads(file.read_bytes())
        number = fields.pop("format")
    except FileNotFoundError:
        raise ExportError(f"no {MANIFEST} in {folder}; give a folder that `dare export` wrote") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ExportError(f"{file} is damaged, or not of `dare export`; take another copy, or export again") from error
    if number != FORMAT:
        raise ExportError(f"{file} has format {number}, this version reads {FORMAT}; export again with this version")
    try:
        return Manifest(folder, **_typed(fields))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(
            f"{file} does not describe an export ({error}); take another copy, or export again"
        ) from error


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists and plain objects where the dataclasses have tuples and values."""
    _check_kinds(fields)
    typed = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    typed["preparation"] = Preparation(**{k: _tuple(v) for k, v in fields["preparation"].items()})
    typed["costs"] = ExitCosts(**{k: _tuple(v) for k, v in fields["costs"].items()})
    typed["steps"] = tuple(ExportedStep(**{k: _tuple(v) for k, v in step.items()}) for step in fields["steps"])
    for step in typed["steps"]:
        if not step.files or any(name in ("", "..") or Path(name).name != name for name in step.files):
            raise ValueError(f"expected names of files in the folder, got {list(step.files)}")
    return typed


def _check_kinds(fields: dict[str, Any]) -> None:
    """Refuse values of another kind than they are written with."""

    def are(kind: type | tuple[type, ...], values: Any) -> bool:
        return isinstance(values, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in values)

    def are_finite(values: Any) -> bool:
        return are((int, float), values) and all(math.isfinite(v) for v in values)

    preparation, costs, fusion = fields["preparation"], fields["costs"], fields["fusion"]
    kinds = {
        "digest": isinstance(fields["digest"], str),
        "stage_names": are(str, fields["stage_names"]),
        "exit_names": are(str, fields["exit_names"]),
        "fusion": fusion is None or are_finite(fusion),
        "unit": isinstance(fields.get("unit", False), bool),
        "preparation": are_finite(preparation["mean"]) and are_finite(preparation["std"]),
        "costs": are(int, costs["macs"]) and isinstance(costs["source"], str),
        "steps": all(
            isinstance(step["files"], dict)
            and all(isinstance(digest, str) for digest in step["files"].values())
            and step["precision"] in PRECISIONS[fields["engine"]]
            for step in fields["steps"]
        ),
    }
    if wrong := [name for name, is_right in kinds.items() if not is_right]:
        raise ValueError(f"{' and '.join(wrong)} of another kind than an export has")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def open_export(folder: Path, engine: str, precision: str | None, threads: int) -> Manifest:
    """The manifest of a folder that is to be run by this engine, with these settings."""
    manifest = read_manifest(folder)
    if (manifest.engine, engine) == ("onnx", "openvino"):
        manifest = replace(manifest, engine=engine, steps=_by_openvino(manifest.steps))
    if manifest.engine != engine:
        raise ExportError(f"{folder} was exported for {manifest.engine}, not for {engine}; leave the runner out")
    if precision is not None and {precision, manifest.precision} <= {*WHOLE[engine]}:
        manifest = replace(manifest, precision=precision)
    if precision not in (None, manifest.precision):
        raise ValueError(
            f"{folder} was exported in {manifest.precision}, got precision {precision!r}; "
            "leave it out, or export again with it"
        )
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    return manifest


def _by_openvino(steps: Sequence[ExportedStep]) -> tuple[ExportedStep, ...]:
    """Steps of ONNX files as OpenVINO runs them, which reads these files too."""
    return tuple(
        replace(
            step,
            input=handed_over(step.input) if number else step.input,
            features=None if step.features is None else handed_over(step.features),
        )
        for number, step in enumerate(steps)
    )


class ExportedRunner:
    """`Runner` of exported steps; the engines differ in `Steps` alone.

    Args:
        words: engine and threads.

    Attributes:
        folder: where the steps are.
    """

    def __init__(self, manifest: Manifest, steps: Steps, words: str) -> None:
        self.exit_names, self.stage_names = manifest.exit_names, manifest.stage_names
        self.preparation, self.costs = manifest.preparation, manifest.costs
        self.digest, self.precision, self.space = manifest.digest, manifest.precision, manifest.space
        self.folder, self.steps, self._words = manifest.folder, steps, words

    @property
    def description(self) -> str:
        """As in `Runner`."""
        return self._words

    def exits(self, images: NDArray[np.float32], stop: Stop | None = None) -> Iterator[Vectors]:
        """As `Runner.exits`; `stop` is asked before each step."""
        return exits(self.walk(images), stop)

    def walk(self, images: NDArray[np.float32]) -> StepWalk:
        """As `Runner.walk`."""
        return StepWalk(self.steps, as_input(images, self.preparation))

    def embed(self, images: NDArray[np.float32]) -> tuple[list[Vectors], Vectors | None]:
        """As `Runner.embed`."""
        images = as_input(images, self.preparation)
        parts = [images[start : start + MICRO_BATCH] for start in range(0, max(1, len(images)), MICRO_BATCH)]
        stages, fused = zip(*(self.walk(part).embed() for part in parts), strict=True)
        return (
            [np.concatenate(vectors) for vectors in zip(*stages, strict=True)],
            None if fused[0] is None else np.concatenate(fused),
        )


def keep_rows(features: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
    """As `Steps.keep`: feature maps are the walk's own and may be overwritten, pictures (read-only) may not."""
    kept: NDArray[np.float32] = (
        to_front(features, rows) if features.flags.writeable else features[np.asarray(rows, int)]
    )
    return kept


def nothing(step: ExportedStep) -> tuple[NDArray[np.float32] | None, Vectors | None]:
    """What a step gives of an empty batch."""
    features = None if step.features is None else np.empty((0, *step.features), np.float32)
    return features, None if step.dimensions is None else np.empty((0, step.dimensions), np.float32)


def engine_module(name: str, extra: str) -> Any:
    """An engine's package, or an error that says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ModuleNotFoundError(
            f"networks in this format need {name}; install it with: pip install 'dare-reid[{extra}]'"
        ) from error


def thread_words(threads: int) -> str:
    """1 -> "1 thread"."""
    return f"{threads} thread{'s' if threads > 1 else ''}"
