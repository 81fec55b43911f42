"""A network's steps as files in a folder, whole and in int8, and the manifest that says which of them are used."""

import errno
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.exporting.formats import FORMATS
from dare.exporting.graphs import step_graphs
from dare.models.checkpoints import Checkpoint
from dare.runners.exported import MANIFEST, ExportedStep, ExportError, Manifest, write_manifest
from dare.runners.runner import Runner, StepWalk

BATCH = 8

Progress = Callable[[str, int, int], None]
"""Takes what is being done, how much of it, out of how much."""


class StepFiles:
    """The steps in a folder, each in fp32 and some in int8 too, until a manifest says which are kept."""

    def __init__(self, folder: Path, format: str, network: Checkpoint) -> None:
        self._folder, self._format, self._network = folder, format, network
        self._engine = FORMATS[format]
        self._steps: list[ExportedStep] = []
        self._int8: dict[int, dict[str, str]] = {}

    def write_steps(self, on_progress: Progress) -> None:
        """All steps, each whole."""
        model, size = self._network.model, self._network.preparation
        for number, graph in enumerate(step_graphs(model, size.height, size.width), start=1):
            shapes = [_shape(port) for port in (*graph.graph.input, *graph.graph.output)]
            given, *results = (
                shape if number == 1 and place == 0 else self._engine.handed_over(shape)
                for place, shape in enumerate(shapes)
            )
            features = results[0] if number < len(model.taps) else None
            dimensions = results[-1][0]
            with _written(self._folder / f"step-{number}"):
                paths = self._engine.write(graph, self._folder / f"step-{number}", number == 1)
            self._steps.append(ExportedStep(_digests(paths), "fp32", given, features, dimensions))
            on_progress("exporting", number, len(model.taps))

    def write_int8(self, chosen: Sequence[int], images: NDArray[np.float32], on_progress: Progress) -> None:
        """Some steps in int8, each calibrated with what the steps before it give in fp32."""
        runner = self.open("fp32", [])
        walks = [runner.walk(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        for number in range(1, chosen[-1] + 1):
            if number in chosen:
                whole = [self._folder / name for name in self._steps[number - 1].files]
                given = np.concatenate([walk.features for walk in walks if isinstance(walk, StepWalk)])
                with _written(self._folder / f"step-{number}-int8"):
                    paths = self._engine.write_int8(whole, given, self._folder / f"step-{number}-int8")
                self._int8[number] = _digests(paths)
            if number < chosen[-1]:
                for walk in walks:  # a few images at a time: all at once would take gigabytes
                    walk.exit()
            on_progress("calibrating", number, chosen[-1])

    def halve(self) -> None:
        """Keep the weights of all steps in float16."""
        for number, step in enumerate(self._steps, start=1):
            self._steps[number - 1] = replace(step, files=self._halved(step.files))
            if number in self._int8:
                self._int8[number] = self._halved(self._int8[number])

    def _halved(self, files: Collection[str]) -> dict[str, str]:
        paths = [self._folder / name for name in files]
        with _written(paths[0]):
            self._engine.halve(paths)
        return _digests(paths)

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
            format=1,
            engine=self._format,  # type: ignore[arg-type]  # checked as it is made
            precision=precision,  # type: ignore[arg-type]
            preparation=network.preparation,
            digest=network.digest,
            costs=network.costs,
            stage_names=tuple(f"stage {tap}" for tap in network.model.taps),
            exit_names=network.model.exit_names,
            fusion=None if fusion is None else tuple(fusion.weights.detach().tolist()),
            steps=tuple(steps),
            parity=parity,
            tools={tool: version(tool) for tool in tools},
            unit=fusion is not None and fusion.unit,
            space=network.space,
            seen=network.seen,
        )
        write_manifest(self._folder, manifest)
        return manifest

    def open(self, precision: str, chosen: Collection[int]) -> Runner:
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


def _shape(port: Any) -> tuple[int, ...]:
    """Of a graph's input or output, without the batch."""
    return tuple(side.dim_value for side in port.type.tensor_type.shape.dim[1:])


def _digests(paths: Sequence[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
