"""Exported steps run by OpenVINO."""

import threading
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.runners.channels_last import give_channels_last, take_channels_last
from dare.runners.exported import Export, engine_module, open_export, thread_words
from dare.runners.runner import SLICES, Runner, Stop, Vectors, slices

HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}
"""Precision -> what OpenVINO is told to compute in; left to itself it takes bfloat16 where the processor has it."""

SPARES = 4
"""Feature maps of a step and batch size that are kept for the next walk: as many walks are seldom under way at once."""


def open_openvino(folder: Path, *, precision: str | None = None, threads: int = 1) -> Runner:
    """The engine for OpenVINO's files on CPUs; arguments and errors as of `open_onnx`."""
    export = open_export(folder, "openvino", precision, threads)
    steps = [_OpenvinoStep(export, number, threads) for number in range(len(export.manifest.steps))]

    def run(
        step: int, features: NDArray[np.float32], stop: Stop | None
    ) -> tuple[NDArray[np.float32] | None, Vectors | None] | None:
        if stop is not None and stop():
            return None
        found = steps[step].run(features)
        if step:
            steps[step - 1].spare(features)
        return found

    words = openvino_words(export.manifest.precision, steps[0].model.computed_in, threads)
    return export.runner(export.manifest.form(run), words)


class _OpenvinoStep:
    """A step, compiled for a few batch sizes; feature maps are arrays (B, H * W, C), used again when a walk is past.

    Larger batches are put together from `SLICES`. Channels come last because OpenVINO's convolutions keep them so:
    handing them over in another order would cost a reordering on either side.
    """

    def __init__(self, export: Export, number: int, threads: int) -> None:
        self._shape = step = export.manifest.steps[number]
        settings = compiler_settings(export.manifest.precision, threads)
        self.model = CompiledModel(_read(export, number), step.input, settings, partial(export.misfit, step))
        self._spares: dict[int, list[NDArray[np.float32]]] = {size: [] for size in SLICES}

    def run(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float32] | None, Vectors | None]:
        """The next feature maps and the vectors."""
        batch, shape = len(features), self._shape
        if not batch:
            return shape.of_nothing()
        results: list[NDArray[np.float32]] = []
        if shape.features is not None:
            spares = self._spares.get(batch)  # memory that is new to the process is slow to write
            results.append(spares.pop() if spares else np.empty((batch, *shape.features), np.float32))
        if shape.dimensions is not None:
            results.append(np.empty((batch, shape.dimensions), np.float32))
        if batch in SLICES:
            self.model.compute(features, results)
        else:
            start = 0
            for size in slices(batch):
                here = slice(start, start + size)
                self.model.compute(features[here], [result[here] for result in results])
                start += size
        return results[0] if shape.features else None, results[-1] if shape.dimensions else None

    def spare(self, features: NDArray[np.float32]) -> None:
        """Keep a feature map that came from here and has been used up."""
        whole = features if features.base is None else features.base
        spares = self._spares.get(len(whole))
        if spares is not None and len(spares) < SPARES and whole.shape[1:] == self._shape.features:
            spares.append(whole)


def _read(export: Export, number: int) -> Any:
    step = export.manifest.steps[number]
    graph, *weights = export.content(step)
    try:
        model = core().read_model(graph, *weights)
        if not weights:  # an ONNX file
            give_channels_last(model)
            if number:
                take_channels_last(model)
            model.validate_nodes_and_infer_types()
    except RuntimeError as error:
        raise export.misfit(step, error) from error
    shapes = [tuple(port.get_partial_shape())[1:] for port in (*model.inputs, *model.outputs)]
    found = [tuple(-1 if side.is_dynamic else side.get_length() for side in shape) for shape in shapes]
    if found != [step.input, *step.outputs]:
        raise export.misfit(step, f"its shapes are {found}, expected {[step.input, *step.outputs]}")
    return model


class CompiledModel:
    """A model compiled for each batch size that comes; any number of threads may use it.

    Models of one size are faster than those of any, by a tenth for small networks.

    Args:
        shape: of its input, without the batch.
        settings: of the compiler.
        misfit: makes the error for a model that can't be compiled.

    Attributes:
        computed_in: OpenVINO's name of the precision that it computes in on this processor.
    """

    def __init__(
        self, model: Any, shape: Sequence[int], settings: dict[str, Any], misfit: Callable[[object], Exception]
    ) -> None:
        self._model, self._shape, self._settings, self._misfit = model, shape, settings, misfit
        self._tensor = _openvino().Tensor
        self._compiled: dict[int, Any] = {}
        self._idle: dict[int, list[Any]] = {}
        self._compiling = threading.Lock()
        self._compile(1)
        self.computed_in = str(self._compiled[1].get_property("INFERENCE_PRECISION_HINT").to_string())

    def compute(self, features: NDArray[np.float32], results: Sequence[NDArray[np.float32]]) -> None:
        """Compute into arrays that belong to the caller; OpenVINO only borrows them, and only here."""
        request = self._request(features)
        for number, result in enumerate(results):
            request.set_output_tensor(number, self._tensor(result, shared_memory=True))
        request.infer(share_outputs=True)  # without it all results would be copied once more
        self._idle[len(features)].append(request)

    def first_output(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """What comes out first, whatever its shape."""
        request = self._request(features)
        request.infer(share_outputs=True)
        found = np.array(request.get_output_tensor(0).data, np.float32)
        self._idle[len(features)].append(request)
        return found

    def _request(self, features: NDArray[np.float32]) -> Any:
        """One that is idle, as a request serves one thread at a time, with its input."""
        size = len(features)
        if size not in self._compiled:
            self._compile(size)
        try:
            request = self._idle[size].pop()
        except IndexError:
            request = self._compiled[size].create_infer_request()
        if not features.flags.writeable:
            features = features.copy()  # OpenVINO borrows writable arrays alone
        request.set_input_tensor(0, self._tensor(features, shared_memory=True))
        return request

    def _compile(self, size: int) -> None:
        with self._compiling:
            if size in self._compiled:
                return
            model = self._model.clone()
            try:
                model.reshape([size, *self._shape])
                compiled = core().compile_model(model, "CPU", self._settings)
            except RuntimeError as error:
                raise self._misfit(error) from error
            self._idle[size] = []
            self._compiled[size] = compiled


def compiler_settings(precision: str, threads: int) -> dict[str, Any]:
    """How each model is compiled."""
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "ENABLE_CPU_PINNING": False,
    }


def openvino_words(precision: str, computed: str, threads: int) -> str:
    """Engine, precision and threads.

    Args:
        computed: as `CompiledModel.computed_in`.
    """
    instead = "" if computed == HINTS[precision] else f" (this CPU computes in {computed})"
    return f"{openvino_version()}, {precision}{instead}, cpu, {thread_words(threads)}"


def openvino_version() -> str:
    """The engine and its version."""
    return f"openvino {_openvino().__version__.partition('-')[0]}"


@cache
def core() -> Any:
    """One for the whole process, kept until it ends.

    A core gives its thread another stack for signals, and takes it back when it goes. Of two that go in the order in
    which they came, the second gives the thread the freed stack of the first: the next Ctrl-C then kills the process.
    """
    return _openvino().Core()


def _openvino() -> Any:
    return engine_module("openvino", "openvino")
