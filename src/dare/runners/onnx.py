"""Exported steps run by ONNX Runtime."""

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
from dare.runners.steps import Stop, Vectors


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
    version = _onnxruntime().__version__
    words = f"onnxruntime {version}, {manifest.precision}, cpu, {thread_words(threads)}"
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
    (content,) = manifest.content(step)
    try:
        session = _onnxruntime().InferenceSession(content, session_options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a kind of its own for each way to fail
        raise manifest.misfit(step, error) from error
    shapes = [tuple(port.shape[1:]) for port in (*session.get_inputs(), *session.get_outputs())]
    if shapes != [step.input, *step.outputs]:
        raise manifest.misfit(step, f"its shapes are {shapes}, expected {[step.input, *step.outputs]}")
    return session
