"""Networks that others trained, as each engine opens them: what goes in and out, what they cost, how they are run."""

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dare.runners.onnx import onnx_version, onnx_words, onnxruntime, session_options
from dare.runners.openvino import CompiledModel, compiler_settings, core, openvino_version, openvino_words
from dare.runners.preparations import ForeignError

ONNX_WEIGHTS = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Kinds of convolution -> which of their inputs is the weights (channels out, channels in of a group, sides)."""

PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul")

ONNX_UNCOUNTED = frozenset({"Attention", "Einsum", "FusedMatMul", "GRU", "LSTM", "MultiHeadAttention", "RNN"})


OPENVINO_WEIGHTS = {
    "Convolution": 1,
    "GroupConvolution": 2,
    "ConvolutionBackpropData": 1,
    "GroupConvolutionBackpropData": 2,
}
"""Kinds of convolution -> where the sides of their weights begin that each value of the map is multiplied with."""

OPENVINO_UNCOUNTED = frozenset(
    {"Einsum", "GRUCell", "GRUSequence", "LSTMCell", "LSTMSequence", "RNNCell", "ScaledDotProductAttention"}
)

FAMILY = "person-reidentification-retail-"
"""How the names of OpenVINO's own networks for re-identification begin."""


@dataclass(frozen=True, slots=True)
class Port:
    """What goes into a graph or comes out; sides of `shape` that may be any are None."""

    name: str
    kind: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.kind}[{', '.join('any' if side is None else str(side) for side in self.shape)}]"


@dataclass(frozen=True, slots=True)
class Work:
    """What a graph does for one image.

    Attributes:
        macs: multiply-adds of its convolutions and matrix products.
        uncounted: operations in it that hold products too, but are not counted.
        quantised: whether it computes in whole numbers.
    """

    macs: int
    uncounted: frozenset[str]
    quantised: bool


class Graph(Protocol):
    """A network's file, opened by an engine.

    Attributes:
        family: a name in `FAMILIES` if the file says so beyond doubt.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    family: str | None

    def work(self, shape: tuple[int, ...]) -> Work:
        """What it does for an input (1, 3, H, W)."""
        ...

    def start(self, shape: tuple[int, ...], precision: str) -> str:
        """Make ready for inputs of this shape, whatever their number; engine, precision and threads in words."""
        ...

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """What comes out, any number of threads at a time."""
        ...


class OnnxGraph:
    """`Graph` of an .onnx file."""

    family: str | None = None

    def __init__(self, file: Path, threads: int) -> None:
        self._file, self._threads = file, threads
        self._session = self._open(session_options(threads))
        self.inputs = tuple(map(_onnx_port, self._session.get_inputs()))
        self.outputs = tuple(map(_onnx_port, self._session.get_outputs()))

    def work(self, shape: tuple[int, ...]) -> Work:
        """As `Graph.work`: the engine's own record of one run, node by node as in the file, has every shape."""
        options = session_options(self._threads)
        options.graph_optimization_level = onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")  # the record lacks packed weights
        options.enable_profiling = True
        with tempfile.TemporaryDirectory() as folder:
            options.profile_file_prefix = str(Path(folder) / "run")
            session = self._open(options)
            self._run(session, np.zeros(shape, np.float32))
            events = json.loads(Path(session.end_profiling()).read_bytes())
        nodes = [event["args"] for event in events if "output_type_shape" in event.get("args", {})]
        kinds = {node["op_name"] for node in nodes}
        quantised = any("QuantizeLinear" in kind or "QLinear" in kind or "Integer" in kind for kind in kinds)
        return Work(sum(map(_onnx_macs, nodes)), ONNX_UNCOUNTED & kinds, quantised)

    def start(self, shape: tuple[int, ...], precision: str) -> str:
        """As `Graph.start`."""
        return onnx_words(precision, self._threads)

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Graph.run`."""
        return np.asarray(self._run(self._session, images)[0], np.float32)

    def _open(self, options: Any) -> Any:
        try:
            # By its path, as weights may lie in files beside it.
            return onnxruntime().InferenceSession(str(self._file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a kind of its own for each way to fail
            raise unreadable(self._file, onnx_version(), error) from error

    def _run(self, session: Any, images: NDArray[np.float32]) -> Any:
        try:
            return session.run(None, {self.inputs[0].name: images})
        except Exception as error:
            raise unreadable(self._file, onnx_version(), error) from error


class OpenvinoGraph:
    """`Graph` of OpenVINO's .xml file, or of an .onnx file."""

    def __init__(self, file: Path, threads: int) -> None:
        self._file, self._threads = file, threads
        try:
            self._model = core().read_model(file)
        except RuntimeError as error:
            raise self._unreadable(error) from error
        self.inputs, self.outputs = (
            tuple(map(_openvino_port, ports)) for ports in (self._model.inputs, self._model.outputs)
        )
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
        return Work(sum(map(_openvino_macs, nodes)), OPENVINO_UNCOUNTED & kinds, "FakeQuantize" in kinds)

    def start(self, shape: tuple[int, ...], precision: str) -> str:
        """As `Graph.start`."""
        settings = compiler_settings(precision, self._threads)
        self._compiled = CompiledModel(self._model, shape[1:], settings, self._unreadable)
        return openvino_words(precision, self._compiled.computed_in, self._threads)

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Graph.run`."""
        try:
            found = self._compiled.run(images)
            return np.array(found[0], np.float32)
        except RuntimeError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, reason: object) -> Exception:
        return unreadable(self._file, openvino_version(), reason)


GRAPHS: dict[str, Callable[[Path, int], Graph]] = {"onnx": OnnxGraph, "openvino": OpenvinoGraph}
"""Engine -> what opens a file, to be run by n threads."""


def _onnx_port(port: Any) -> Port:
    sides = tuple(side if isinstance(side, int) else None for side in port.shape)
    return Port(port.name, {"tensor(float)": "float32"}.get(port.type, port.type), sides)


def _onnx_macs(node: dict[str, Any]) -> int:
    """Multiply-adds of one node of the engine's record."""
    kind = node["op_name"]
    # One entry for each tensor: its type -> its shape.
    inputs: list[list[int]] = [next(iter(entry.values()), []) for entry in node["input_type_shape"]]
    out: list[int] = next(iter(node["output_type_shape"][0].values()), [])
    if kind in ONNX_WEIGHTS:
        each, times = out, math.prod(inputs[ONNX_WEIGHTS[kind]][1:])
    elif kind == "ConvTranspose":
        each, times = inputs[0], math.prod(inputs[1][1:])
    elif kind in PRODUCTS:
        each, times = out, inputs[0][-1]
    elif kind == "Gemm":  # the first factor may be transposed
        each, times = out, math.prod(inputs[0]) // out[0]
    else:
        return 0
    return math.prod(each) * times


def _openvino_port(port: Any) -> Port:
    name, kind = min(port.get_names(), default="unnamed"), port.get_element_type().to_dtype().name
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return Port(name, kind, ())
    return Port(name, kind, tuple(None if side.is_dynamic else side.get_length() for side in shape))


def _said(model: Any, name: str) -> str:
    """What the converter has written down of a setting; "" if nothing."""
    path = ["conversion_parameters", name]
    return str(model.get_rt_info(path).value) if model.has_rt_info(path) else ""


def _openvino_macs(node: Any) -> int:
    """Multiply-adds of a node; 0 where a shape depends on the values that go in."""
    kind = node.get_type_name()
    if kind not in OPENVINO_WEIGHTS and kind != "MatMul":
        return 0
    shapes = [port.get_partial_shape() for port in (node.input(0), node.input(1), node.output(0))]
    if any(shape.is_dynamic for shape in shapes):
        return 0
    first, second, out = (tuple(map(int, shape.to_shape())) for shape in shapes)
    if kind == "MatMul":
        transposed = node.get_attributes()["transpose_a"] and len(first) > 1
        return math.prod(out) * first[-2 if transposed else -1]
    each = first if kind.endswith("BackpropData") else out
    return math.prod(each) * math.prod(second[OPENVINO_WEIGHTS[kind] :])


def unreadable(file: Path, engine: str, reason: object) -> ForeignError:
    """The error for a file that the engine cannot open or run; the last line of what it says is the cause."""
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    return ForeignError(
        f"{file} is damaged, or not for this version of {engine} ({lines[-1].strip()}); export it again, or take "
        "another version"
    )
