"""Exported steps run by OpenVINO."""

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.runners.exported import (
    ExportedRunner,
    ExportedStep,
    Manifest,
    engine_module,
    keep_rows,
    nothing,
    open_export,
    thread_words,
)
from dare.runners.steps import SLICES, Stop, Vectors, slices

HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}
"""Precision -> what OpenVINO is told to compute in; left to itself it takes bfloat16 where the processor has it."""

SPARES = 4
"""Feature maps of a step and batch size that are kept for the next walk: as many walks are seldom under way at once."""


def open_openvino(folder: Path, *, precision: str | None = None, threads: int = 1) -> ExportedRunner:
    """The engine for OpenVINO's files on CPUs; arguments and errors as of `open_onnx`."""
    manifest = open_export(folder, "openvino", precision, threads)
    steps = OpenvinoSteps(manifest, threads)
    version = _openvino().__version__.partition("-")[0]
    computed = steps.computed_in
    instead = "" if computed == HINTS[manifest.precision] else f" (this CPU computes in {computed})"
    words = f"openvino {version}, {manifest.precision}{instead}, cpu, {thread_words(threads)}"
    return ExportedRunner(manifest, steps, words)


class OpenvinoSteps:
    """`Steps` compiled for a few batch sizes; feature maps are arrays (B, H * W, C), used again when a walk is past.

    Models of one batch size are faster than those of any (by a tenth for small networks), so larger batches are
    put together from `SLICES`. Channels come last because OpenVINO's convolutions keep them so: handing them over
    in another order would cost a reordering on either side.

    Attributes:
        computed_in: OpenVINO's name of the precision that it computes in on this processor.
    """

    def __init__(self, manifest: Manifest, threads: int) -> None:
        self.tapped = [step.dimensions is not None for step in manifest.steps]
        self.fusion = None if manifest.fusion is None else np.asarray(manifest.fusion, np.float32)
        self.unit = manifest.unit
        self._openvino = _openvino()
        self._manifest, self._steps = manifest, manifest.steps
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": HINTS[manifest.precision],
            "ENABLE_CPU_PINNING": False,
        }
        self._core = _core()
        self._models = [self._read(step) for step in manifest.steps]
        self._compiled: dict[tuple[int, int], Any] = {}
        self._idle: dict[tuple[int, int], list[Any]] = {}
        self._spares: dict[tuple[int, int], list[NDArray[np.float32]]] = {}
        self._compiling = threading.Lock()
        for number in range(len(self._models)):
            self._compile(number, 1)
        self.computed_in = str(self._compiled[0, 1].get_property("INFERENCE_PRECISION_HINT").to_string())

    def run(
        self, step: int, features: NDArray[np.float32], stop: Stop | None
    ) -> tuple[NDArray[np.float32] | None, Vectors | None] | None:
        """As `Steps.run`."""
        if stop is not None and stop():
            return None
        if not len(features):
            return nothing(self._steps[step])
        shape = self._steps[step]
        results = [self._array(step, len(features))] if shape.features else []
        if shape.dimensions:
            results.append(np.empty((len(features), shape.dimensions), np.float32))
        start = 0
        for size in slices(len(features)):
            here = slice(start, start + size)
            self._infer(step, features[here], [result[here] for result in results])
            start += size
        self._spare(step - 1, features)
        return results[0] if shape.features else None, results[-1] if shape.dimensions else None

    def keep(self, features: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
        """As `Steps.keep`."""
        return keep_rows(features, rows)

    def _array(self, step: int, batch: int) -> NDArray[np.float32]:
        """For a feature map; a used one if there is one, as memory that is new to the process is slow to write."""
        try:
            return self._spares[step, batch].pop()
        except (KeyError, IndexError):
            return np.empty((batch, *(self._steps[step].features or ())), np.float32)

    def _spare(self, step: int, features: NDArray[np.float32]) -> None:
        """Keep a feature map that has been used up."""
        whole = features if features.base is None else features.base
        if step < 0 or not isinstance(whole, np.ndarray) or not 0 < len(whole) <= SLICES[0]:
            return
        if whole.dtype == np.float32 and whole.shape[1:] == self._steps[step].features and whole.flags.c_contiguous:
            spares = self._spares.setdefault((step, len(whole)), [])
            if len(spares) < SPARES:
                spares.append(whole)

    def _infer(self, step: int, features: NDArray[np.float32], results: list[NDArray[np.float32]]) -> None:
        """Compute into arrays that belong to the caller; OpenVINO only borrows them, and only here."""
        key = step, len(features)
        if key not in self._compiled:
            self._compile(*key)
        idle = self._idle[key]
        try:
            request = idle.pop()  # a request serves one thread at a time
        except IndexError:
            request = self._compiled[key].create_infer_request()
        tensor = self._openvino.Tensor
        if not features.flags.writeable:
            features = features.copy()  # OpenVINO borrows writable arrays alone; pictures are read-only
        request.set_input_tensor(0, tensor(features, shared_memory=True))
        for number, result in enumerate(results):
            request.set_output_tensor(number, tensor(result, shared_memory=True))
        request.infer(share_outputs=True)  # without it all results would be copied once more
        idle.append(request)

    def _read(self, step: ExportedStep) -> Any:
        graph, weights = self._manifest.content(step)
        try:
            model = self._core.read_model(graph, weights)
        except RuntimeError as error:
            raise self._manifest.misfit(step, error) from error
        shapes = [tuple(port.get_partial_shape())[1:] for port in (*model.inputs, *model.outputs)]
        found = [tuple(-1 if side.is_dynamic else side.get_length() for side in shape) for shape in shapes]
        if found != [step.input, *step.outputs]:
            raise self._manifest.misfit(step, f"its shapes are {found}, expected {[step.input, *step.outputs]}")
        return model

    def _compile(self, step: int, size: int) -> None:
        with self._compiling:
            if (step, size) in self._compiled:
                return
            model = self._models[step].clone()
            try:
                model.reshape([size, *self._steps[step].input])
                compiled = self._core.compile_model(model, "CPU", self._settings)
            except RuntimeError as error:
                raise self._manifest.misfit(self._steps[step], error) from error
            self._idle[step, size] = []
            self._compiled[step, size] = compiled


@functools.cache
def _core() -> Any:
    """One for the whole process, kept until it ends.

    A core gives its thread another stack for signals, and takes it back when it goes. Of two that go in the order in
    which they came, the second gives the thread the freed stack of the first: the next Ctrl-C then kills the process.
    """
    return _openvino().Core()


def _openvino() -> Any:
    return engine_module("openvino", "openvino")
