"""Exported steps run by OpenVINO."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.runners.channels_last import give_channels_last, take_channels_last
from dare.runners.exported import Export, engine_module, open_export, thread_words
from dare.runners.runner import SLICES, Runner, Stop, Vectors, slices, to_front

HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}
"""Precision -> what OpenVINO is told to compute in; left to itself it takes bfloat16 where the processor has it."""


def open_openvino(folder: Path, *, precision: str | None = None, threads: int = 1) -> Runner:
    """The engine for OpenVINO's files on CPUs; arguments and errors as of `open_onnx`."""
    export = open_export(folder, "openvino", precision, threads)
    steps = [_OpenvinoStep(export, number, threads) for number in range(len(export.manifest.steps))]

    def run(step: int, features: Features, stop: Stop | None) -> tuple[Features | None, Vectors | None] | None:
        return None if stop is not None and stop() else steps[step].run(features)

    words = openvino_words(export.manifest.precision, steps[0].model.computed_in, threads)
    return export.runner(replace(export.manifest.form(run), keep=_keep), words)


@dataclass(frozen=True, slots=True)
class Maps:
    """Feature maps (B, H * W, C) on their way to the next step, and whose memory they lie in."""

    array: NDArray[np.float32]
    results: "Results | None" = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float32]:
        """As numpy asks for it."""
        return np.array(self.array, dtype, copy=copy)


Features = NDArray[np.float32] | Maps
"""Images, or what a step gave."""


def _keep(features: Features, rows: list[int]) -> Features:
    assert isinstance(features, Maps)
    return replace(features, array=to_front(features.array, rows))


class _OpenvinoStep:
    """A step, compiled for a few batch sizes; larger batches are put together from `SLICES`.

    Channels of feature maps come last because OpenVINO's convolutions keep them so: handing them over in another order
    would cost a reordering on either side.
    """

    def __init__(self, export: Export, number: int, threads: int) -> None:
        self._shape = step = export.manifest.steps[number]
        settings = compiler_settings(export.manifest.precision, threads)
        self.model = CompiledModel(_read(export, number), step.input, settings, partial(export.misfit, step))

    def run(self, features: Features) -> tuple[Features | None, Vectors | None]:
        """The next feature maps and the vectors."""
        given = features.array if isinstance(features, Maps) else features
        batch, shape = len(given), self._shape
        if not batch:
            maps, vectors = shape.of_nothing()
            return None if maps is None else Maps(maps), vectors
        if batch in SLICES:
            found = self.model.run(given)
            return (
                Maps(found[0], found) if shape.features is not None else None,
                found[len(shape.outputs) - 1].copy() if shape.dimensions is not None else None,
            )
        wholes = [np.empty((batch, *one), np.float32) for one in shape.outputs]
        start = 0
        for size in slices(batch):
            found = self.model.run(given[start : start + size])
            for output, whole in enumerate(wholes):
                whole[start : start + size] = found[output]
            start += size
        return (
            Maps(wholes[0]) if shape.features is not None else None,
            wholes[-1] if shape.dimensions is not None else None,
        )


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

    def run(self, features: NDArray[np.float32]) -> "Results":
        """What comes out; the memory is the model's, and used again once nobody holds the results."""
        size = len(features)
        if size not in self._compiled:
            self._compile(size)
        try:
            request = self._idle[size].pop()  # a request serves one thread at a time
        except IndexError:
            request = self._compiled[size].create_infer_request()
        if not features.flags.writeable:
            features = features.copy()  # OpenVINO borrows writable arrays alone
        request.set_input_tensor(0, self._tensor(features, shared_memory=True))
        request.infer(share_outputs=True)  # without it all results would be copied
        return Results(request, self._idle[size])

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


class Results:
    """What a request computed, until it is let go; then the request takes the next input.

    To give OpenVINO memory to write to takes a twentieth of a small step's time, so results stay where it puts them.
    """

    __slots__ = ("_idle", "_request")

    def __init__(self, request: Any, idle: list[Any]) -> None:
        self._request, self._idle = request, idle

    def __del__(self) -> None:
        self._idle.append(self._request)

    def __getitem__(self, output: int) -> NDArray[np.float32]:
        """A view, not to be used longer than this is held."""
        found: NDArray[np.float32] = self._request.get_output_tensor(output).data
        return found


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
