"""Exported steps, and networks of others, run by ONNX Runtime."""

import json
import math
import tempfile
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
from dare.runners.graphs import Port, Work, unreadable
from dare.runners.steps import Stop, Vectors

WEIGHTS = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Kinds of convolution -> which of their inputs is the weights (channels out, channels in of a group, sides)."""

PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul")

UNCOUNTED = frozenset({"Attention", "Einsum", "FusedMatMul", "GRU", "LSTM", "MultiHeadAttention", "RNN"})


def open_onnx(folder: Path, *, precision: str | None = None, threads: int = 1) -> ExportedRunner:
    """The engine for ONNX files on CPUs.

    Args:
        folder: what `dare export --format onnx` wrote.
        precision: only the export's own; None takes it.
        threads: that each step computes with.

    Raises:
        ExportError: as `read_manifest`, and for files that are damaged, missing or do not fit.
    """
    manifest = open_export(folder, "onnx", precision, threads)
    words = _words(manifest.precision, threads)
    return ExportedRunner(manifest, OnnxSteps(manifest, threads), words)


class OnnxSteps:
    """`Steps` with a session each; feature maps are arrays (B, C, H, W), new ones of every call."""

    def __init__(self, manifest: Manifest, threads: int) -> None:
        self.tapped = [step.dimensions is not None for step in manifest.steps]
        self.fusion = None if manifest.fusion is None else np.asarray(manifest.fusion, np.float32)
        self.unit = manifest.unit
        self._steps = manifest.steps
        self._sessions = [_session(manifest, step, threads) for step in manifest.steps]
        self._inputs = [session.get_inputs()[0].name for session in self._sessions]

    def run(
        self, step: int, features: NDArray[np.float32], stop: Stop | None
    ) -> tuple[NDArray[np.float32] | None, Vectors | None] | None:
        """As `Steps.run`."""
        if stop is not None and stop():
            return None
        if not len(features):
            return nothing(self._steps[step])
        # Plain arrays: an OrtValue or an IO binding per step took longer, as no copy is saved on a CPU.
        found = self._sessions[step].run(None, {self._inputs[step]: features})
        shape = self._steps[step]
        return found[0] if shape.features else None, found[-1] if shape.dimensions else None

    def keep(self, features: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
        """As `Steps.keep`."""
        return keep_rows(features, rows)


class OnnxGraph:
    """`Graph` of an .onnx file."""

    family: str | None = None

    def __init__(self, file: Path, threads: int) -> None:
        self._file, self._threads = file, threads
        self._session = self._open(session_options(threads))
        self.inputs = tuple(map(_port, self._session.get_inputs()))
        self.outputs = tuple(map(_port, self._session.get_outputs()))

    def work(self, shape: tuple[int, ...]) -> Work:
        """As `Graph.work`: the engine's own record of one run, node by node as in the file, has every shape."""
        options = session_options(self._threads)
        options.graph_optimization_level = _onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
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
        return Work(sum(map(_macs, nodes)), UNCOUNTED & kinds, quantised)

    def start(self, shape: tuple[int, ...], precision: str) -> str:
        """As `Graph.start`."""
        return _words(precision, self._threads)

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Graph.run`."""
        return np.asarray(self._run(self._session, images)[0], np.float32)

    def _open(self, options: Any) -> Any:
        try:
            # By its path, as weights may lie in files beside it.
            return _onnxruntime().InferenceSession(str(self._file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a kind of its own for each way to fail
            raise unreadable(self._file, _version(), error) from error

    def _run(self, session: Any, images: NDArray[np.float32]) -> Any:
        try:
            return session.run(None, {self.inputs[0].name: images})
        except Exception as error:
            raise unreadable(self._file, _version(), error) from error


def session_options(threads: int) -> Any:
    """How each session runs."""
    options = _onnxruntime().SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning threads stall other workers
    options.log_severity_level = 3
    return options


def _onnxruntime() -> Any:
    return engine_module("onnxruntime", "onnx")


def _session(manifest: Manifest, step: ExportedStep, threads: int) -> Any:
    (content,), engine = manifest.content(step), _onnxruntime()
    try:
        session = engine.InferenceSession(content, session_options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a kind of its own for each way to fail
        raise manifest.misfit(step, error) from error
    shapes = [tuple(port.shape[1:]) for port in (*session.get_inputs(), *session.get_outputs())]
    if shapes != [step.input, *step.outputs]:
        raise manifest.misfit(step, f"its shapes are {shapes}, expected {[step.input, *step.outputs]}")
    return session


def _words(precision: str, threads: int) -> str:
    return f"{_version()}, {precision}, cpu, {thread_words(threads)}"


def _version() -> str:
    return f"onnxruntime {_onnxruntime().__version__}"


def _port(port: Any) -> Port:
    sides = tuple(side if isinstance(side, int) else None for side in port.shape)
    return Port(port.name, {"tensor(float)": "float32"}.get(port.type, port.type), sides)


def _macs(node: dict[str, Any]) -> int:
    """Multiply-adds of one node of the engine's record."""
    kind = node["op_name"]
    # One entry for each tensor: its type -> its shape.
    inputs: list[list[int]] = [next(iter(entry.values()), []) for entry in node["input_type_shape"]]
    out: list[int] = next(iter(node["output_type_shape"][0].values()), [])
    if kind in WEIGHTS:
        each, times = out, math.prod(inputs[WEIGHTS[kind]][1:])
    elif kind == "ConvTranspose":
        each, times = inputs[0], math.prod(inputs[1][1:])
    elif kind in PRODUCTS:
        each, times = out, inputs[0][-1]
    elif kind == "Gemm":  # the first factor may be transposed
        each, times = out, math.prod(inputs[0]) // out[0]
    else:
        return 0
    return math.prod(each) * times
