"""A folder of exported steps: its manifest, read and checked, and what runs of both engines have in common."""

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from dare.anytime.costs import ExitCosts
from dare.datasets.seen import Seen
from dare.files import CHANGED, said, sealed, unsealed
from dare.images.preparation import Preparation
from dare.retrieval.distances import Space, check_space
from dare.runners.channels_last import handed_over
from dare.runners.runner import SLICES, Runner, Steps, StepWalk, Vectors, as_input

MANIFEST = "manifest.json"
"""What a folder of exported steps holds, and says which engine they are for."""

Precision = Literal["fp32", "bf16", "int8"]

PRECISIONS: dict[str, tuple[Precision, ...]] = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")}
"""Engine -> what it can be exported in. onnxruntime has no convolutions in bfloat16 on CPUs."""

EXPORTED = tuple(PRECISIONS)
"""Engines that run exported steps and networks of others; the other ones run networks of torch."""

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ExportError(ValueError):
    """A folder that is not a usable export; says which one, why, and what to do."""


def _name(name: str) -> str:
    if name in ("", "..") or Path(name).name != name:
        raise ValueError(f"expected names of files in the folder, got {name!r}")
    return name


@dataclass(frozen=True, config=STRICT)
class ExportedStep:
    """One stage with its head, as files of an engine.

    Attributes:
        files: name -> SHA-256, the graph first.
        precision: of this step.
        input: shape of what goes in, without the batch.
        features: shape of the feature map that comes out; None for the last step.
        dimensions: D of the vectors that come out; None without a tap.
    """

    files: dict[Annotated[str, AfterValidator(_name)], str]
    precision: Precision
    input: tuple[int, ...]
    features: tuple[int, ...] | None
    dimensions: int | None

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("expected the names of its files, got none")

    @property
    def outputs(self) -> list[tuple[int, ...]]:
        """Shapes of what comes out, without the batch."""
        return [*([self.features] if self.features else []), *([(self.dimensions,)] if self.dimensions else [])]

    def of_nothing(self) -> tuple[NDArray[np.float32] | None, Vectors | None]:
        """What comes out for an empty batch."""
        features = None if self.features is None else np.empty((0, *self.features), np.float32)
        return features, None if self.dimensions is None else np.empty((0, self.dimensions), np.float32)


@dataclass(frozen=True, config=STRICT)
class Manifest:
    """What a folder of exported steps says of itself; attributes not named here as those of `Runner`.

    Attributes:
        format: of the file.
        precision: "int8" also where only some steps are.
        fusion: weights of the tapped steps' vectors in the fused one; None without fusion.
        parity: how close the export came to the network, for people to read.
        tools: name -> version of what wrote it.
        unit: whether vectors have length 1, the fused one too.
    """

    format: Literal[1]
    engine: Literal["onnx", "openvino"]
    precision: Precision
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
    seen: Seen = ""

    def __post_init__(self) -> None:
        offered = PRECISIONS[self.engine]
        if wrong := {self.precision, *(step.precision for step in self.steps)} - {*offered}:
            raise ValueError(f"{self.engine} has no {' or '.join(sorted(wrong))}; expected {', '.join(offered)}")
        if not self.steps or self.steps[0].input != (3, self.preparation.height, self.preparation.width):
            raise ValueError(f"expected a first step that takes images of {self.preparation.size}")
        for before, step in zip(self.steps, self.steps[1:], strict=False):
            if before.features is None or before.features != step.input:
                raise ValueError(f"a step gives {before.features}, the next one takes {step.input}")
        if self.steps[-1].features is not None or self.steps[-1].dimensions is None:
            raise ValueError("the last step must give vectors, and nothing else")
        tapped = sum(step.dimensions is not None for step in self.steps)
        weights = tapped if self.fusion is None else len(self.fusion)
        if {tapped} != {len(self.stage_names), weights, len(self.exit_names), len(self.costs.macs)}:
            raise ValueError(f"names, costs or fusion weights don't fit {tapped} tapped steps")
        check_space(self.space, [step.dimensions for step in self.steps if step.dimensions is not None])

    def form(self, run: Any) -> Steps:
        """The form of the network, around what runs its steps."""
        tapped = [step.dimensions is not None for step in self.steps]
        return Steps(tapped, None if self.fusion is None else np.asarray(self.fusion, np.float32), self.unit, run)


_SCHEMA = TypeAdapter(Manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder of exported steps says of itself; the steps' files are not opened.

    Raises:
        ExportError: missing, damaged, of another format, or with parts that don't fit each other.
    """
    file = folder / MANIFEST
    try:
        content, whole = unsealed(file.read_bytes())
        manifest = _SCHEMA.validate_json(content)
    except FileNotFoundError:
        raise ExportError(f"no {MANIFEST} in {folder}; give a folder that `dare export` wrote") from None
    except OSError as error:
        raise ExportError(f"{file} can't be read ({error.strerror}); take another copy, or export again") from error
    except ValidationError as error:
        raise ExportError(
            f"{said(error, file)}; take another copy, or export again with this version of dare"
        ) from error
    if not whole:
        raise ExportError(f"{file} {CHANGED}; take another copy, or export again")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write what `read_manifest` reads."""
    (folder / MANIFEST).write_bytes(sealed(_SCHEMA.dump_json(manifest, indent=1)))


@dataclass(frozen=True)
class Export:
    """A folder of exported steps, to be run by an engine."""

    folder: Path
    manifest: Manifest

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
                raise ExportError(
                    f"{self.folder / name} can't be read ({error.strerror}); take another copy of the folder, or "
                    "export again"
                ) from error
            if hashlib.sha256(content).hexdigest() != digest:
                raise ExportError(
                    f"{self.folder / name} is damaged or of another export: its SHA-256 is not the one in {MANIFEST}; "
                    "take another copy of the whole folder, or export again"
                )
            found.append(content)
        return found

    def misfit(self, step: ExportedStep, reason: object) -> ExportError:
        """The error for files that are whole but not what the manifest says, or that the engine can't run."""
        lines = str(reason).strip().splitlines()
        return ExportError(
            f"{self.folder / next(iter(step.files))} doesn't fit {MANIFEST}, or this version of {self.manifest.engine} "
            f"can't run it ({lines[0] if lines else type(reason).__name__}); export again"
        )

    def runner(self, steps: Steps, words: str) -> Runner:
        """What the manifest says, around its steps.

        Args:
            words: engine, precision and threads.
        """
        about = self.manifest
        return Runner(
            about.exit_names,
            about.stage_names,
            about.preparation,
            about.costs,
            about.digest,
            about.precision,
            about.space,
            words,
            lambda images: StepWalk(steps, as_input(images, about.preparation)),
            SLICES[0],
            fusion=about.fusion or (),
            seen=about.seen,
        )


def open_export(folder: Path, engine: Literal["onnx", "openvino"], precision: str | None, threads: int) -> Export:
    """A folder that is to be run by this engine, with these settings."""
    manifest = read_manifest(folder)
    if (manifest.engine, engine) == ("onnx", "openvino"):
        manifest = replace(manifest, engine=engine, steps=_by_openvino(manifest.steps))
    if manifest.engine != engine:
        raise ExportError(f"{folder} was exported for {manifest.engine}, not for {engine}; leave the runner out")
    if precision in PRECISIONS[engine] and "int8" not in (precision, manifest.precision):
        manifest = replace(manifest, precision=precision)  # the same files do for both
    if precision not in (None, manifest.precision):
        raise ValueError(
            f"{folder} was exported in {manifest.precision}, got precision {precision!r}; "
            "leave it out, or export again with it"
        )
    return Export(folder, manifest)


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
