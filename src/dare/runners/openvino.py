"""Exported steps, and networks of others, run by OpenVINO."""

import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.runners.channels_last import give_channels_last, take_channels_last
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
from dare.runners.graphs import Port, Work, unreadable
from dare.runners.steps import SLICES, Stop, Vectors, slices

HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}
"""Precision -> what OpenVINO is told to compute in; left to itself it takes bfloat16 where the processor has it."""

SPARES = 4
"""Feature maps of a step and batch size that are kept for the next walk: as many walks are seldom under way at once."""


WEIGHTS = {
    "Convolution": 1,
    "GroupConvolution": 2,
    "ConvolutionBackpropData": 1,
    "GroupConvolutionBackpropData": 2,
}
"""Kinds of convolution -> where the sides of their weights begin that each value of the map is multiplied with."""

UNCOUNTED = frozenset(
    {"Einsum", "GRUCell", "GRUSequence", "LSTMCell", "LSTMSequence", "RNNCell", "ScaledDotProductAttention"}
)

FAMILY = "person-reidentification-retail-"
"""How the names of OpenVINO's own networks for re-identification begin."""


def open_openvino(folder: Path, *, precision: str | None = None, threads: int = 1) -> ExportedRunner:
    """The engine for OpenVINO's files on CPUs; arguments and errors as of `open_onnx`."""
    manifest = open_export(folder, "openvino", precision, threads)
    steps = OpenvinoSteps(manifest, threads)
    return ExportedRunner(manifest, steps, _words(manifest.precision, steps.computed_in, threads))


class OpenvinoSteps:
    """`Steps` compiled for a few batch sizes; feature maps are arrays (B, H * W, C), used again when a walk is past.

    Larger batches are put together from `SLICES`. Channels come last because OpenVINO's convolutions keep them so:
    handing them over in another order would cost a reordering on either side.

    Attributes:
        computed_in: OpenVINO's name of the precision that it computes in on this processor.
    """

    def __init__(self, manifest: Manifest, threads: int) -> None:
        self.tapped = [step.dimensions is not None for step in manifest.steps]
        self.fusion = None if manifest.fusion is None else np.asarray(manifest.fusion, np.float32)
        self.unit = manifest.unit
        self._manifest, self._steps = manifest, manifest.steps
        self._models = [
            CompiledModel(
                self._read(step),
                step.input,
                _settings(manifest.precision, threads),
                functools.partial(manifest.misfit, step),
            )
            for step in manifest.steps
        ]
        self._spares: dict[tuple[int, int], list[NDArray[np.float32]]] = {}
        self.computed_in = self._models[0].computed_in

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
            self._models[step].compute(features[here], [result[here] for result in results])
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

    def _read(self, step: ExportedStep) -> Any:
        graph, *weights = self._manifest.content(step)
        try:
            model = _core().read_model(graph, *weights)
            if not weights:  # an ONNX file
                give_channels_last(model)
                if step is not self._steps[0]:
                    take_channels_last(model)
                model.validate_nodes_and_infer_types()
        except RuntimeError as error:
            raise self._manifest.misfit(step, error) from error
        shapes = [tuple(port.get_partial_shape())[1:] for port in (*model.inputs, *model.outputs)]
        found = [tuple(-1 if side.is_dynamic else side.get_length() for side in shape) for shape in shapes]
        if found != [step.input, *step.outputs]:
            raise self._manifest.misfit(step, f"its shapes are {found}, expected {[step.input, *step.outputs]}")
        return model


class OpenvinoGraph:
    """`Graph` of OpenVINO's .xml file, or of an .onnx file."""

    def __init__(self, file: Path, threads: int) -> None:
        self._file, self._threads = file, threads
        try:
            self._model = _core().read_model(file)
        except RuntimeError as error:
            raise self._unreadable(error) from error
        self.inputs, self.outputs = (tuple(map(_port, ports)) for ports in (self._model.inputs, self._model.outputs))
        # By the name that its authors gave it, where colours, mean and deviation were put into the graph as they do it.
        said = {name: _said(self._model, name) for name in ("model_name", "reverse_input_channels", "mean_values")}
        own = said["model_name"].startswith(FAMILY) and said["reverse_input_channels"] == "True" and said["mean_values"]
        self.family = "openvino-retail" if own else None

    def work(self, shape: tuple[int, ...]) -> Work:
        """As `Graph.work`."""
        model = self._model.clone()
        try:
            model.reshape(list(shape))
        except RuntimeError as error:
            raise self._unreadable(error) from error
        nodes = model.get_ops()
        kinds = {node.get_type_name() for node in nodes}
        return Work(sum(map(_macs, nodes)), UNCOUNTED & kinds, "FakeQuantize" in kinds)

    def start(self, shape: tuple[int, ...], precision: str) -> str:
        """As `Graph.start`."""
        settings = _settings(precision, self._threads)
        self._compiled = CompiledModel(self._model, shape[1:], settings, self._unreadable)
        return _words(precision, self._compiled.computed_in, self._threads)

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Graph.run`."""
        try:
            return self._compiled.first_output(images)
        except RuntimeError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, reason: object) -> Exception:
        return unreadable(self._file, _version(), reason)


class CompiledModel:
    """A model compiled for each batch size that comes; any number of threads may use it.

    Models of one size are faster than those of any, by a tenth for small networks.

    Args:
        shape: of its input, without the batch.
        settings: of the compiler.
        misfit: makes the error for a model that cannot be compiled.

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

    def compute(self, features: NDArray[np.float32], results: list[NDArray[np.float32]]) -> None:
        """Compute into arrays that belong to the caller; OpenVINO only borrows them, and only here."""
        with self._request(features) as request:
            for number, result in enumerate(results):
                request.set_output_tensor(number, self._tensor(result, shared_memory=True))
            request.infer(share_outputs=True)  # without it all results would be copied once more

    def first_output(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """What comes out first, whatever its shape."""
        with self._request(features) as request:
            request.infer(share_outputs=True)
            return np.array(request.get_output_tensor(0).data, np.float32)

    @contextmanager
    def _request(self, features: NDArray[np.float32]) -> Iterator[Any]:
        size = len(features)
        if size not in self._compiled:
            self._compile(size)
        idle = self._idle[size]
        try:
            request = idle.pop()  # a request serves one thread at a time
        except IndexError:
            request = self._compiled[size].create_infer_request()
        if not features.flags.writeable:
            features = features.copy()  # OpenVINO borrows writable arrays alone; pictures are read-only
        request.set_input_tensor(0, self._tensor(features, shared_memory=True))
        yield request
        idle.append(request)

    def _compile(self, size: int) -> None:
        with self._compiling:
            if size in self._compiled:
                return
            model = self._model.clone()
            try:
                model.reshape([size, *self._shape])
                compiled = _core().compile_model(model, "CPU", self._settings)
            except RuntimeError as error:
                raise self._misfit(error) from error
            self._idle[size] = []
            self._compiled[size] = compiled


def _settings(precision: str, threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "ENABLE_CPU_PINNING": False,
    }


def _words(precision: str, computed: str, threads: int) -> str:
    instead = "" if computed == HINTS[precision] else f" (this CPU computes in {computed})"
    return f"{_version()}, {precision}{instead}, cpu, {thread_words(threads)}"


def _version() -> str:
    return f"openvino {_openvino().__version__.partition('-')[0]}"


def _port(port: Any) -> Port:
    name, kind = min(port.get_names(), default="unnamed"), port.get_element_type().to_dtype().name
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return Port(name, kind, ())
    return Port(name, kind, tuple(None if side.is_dynamic else side.get_length() for side in shape))


def _said(model: Any, name: str) -> str:
    """What the converter has written down of a setting; "" if nothing."""
    path = ["conversion_parameters", name]
    return str(model.get_rt_info(path).value) if model.has_rt_info(path) else ""


def _macs(node: Any) -> int:
    """Multiply-adds of a node; 0 where a shape depends on the values that go in."""
    kind = node.get_type_name()
    if kind not in WEIGHTS and kind != "MatMul":
        return 0
    shapes = [port.get_partial_shape() for port in (node.input(0), node.input(1), node.output(0))]
    if any(shape.is_dynamic for shape in shapes):
        return 0
    first, second, out = (tuple(map(int, shape.to_shape())) for shape in shapes)
    if kind == "MatMul":
        transposed = node.get_attributes()["transpose_a"] and len(first) > 1
        return math.prod(out) * first[-2 if transposed else -1]
    each = first if kind.endswith("BackpropData") else out
    return math.prod(each) * math.prod(second[WEIGHTS[kind] :])


@functools.cache
def _core() -> Any:
    """One for the whole process, kept until it ends.

    A core gives its thread another stack for signals, and takes it back when it goes. Of two that go in the order in
    which they came, the second gives the thread the freed stack of the first: the next Ctrl-C then kills the process.
    """
    return _openvino().Core()


def _openvino() -> Any:
    return engine_module("openvino", "openvino")
