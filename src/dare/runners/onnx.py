"""Exported steps run by ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.runners.exported import Export, ExportedStep, engine_module, open_export, thread_words
from dare.runners.runner import Runner, Stop, Vectors


def open_onnx(folder: Path, *, precision: str | None = None, threads: int = 1) -> Runner:
    """The engine for ONNX files on CPUs.

    Args:
        folder: what `dare export --format onnx` wrote.
        precision: only the export's own; None takes it.
        threads: that each step computes with.

    Raises:
        ExportError: as `read_manifest`, and for files that are damaged, missing or don't fit.
    """
    export = open_export(folder, "onnx", precision, threads)
    shapes = export.manifest.steps
    sessions = [_session(export, step, threads) for step in shapes]
    inputs = [session.get_inputs()[0].name for session in sessions]

    def run(
        step: int, features: NDArray[np.float32], stop: Stop | None
    ) -> tuple[NDArray[np.float32] | None, Vectors | None] | None:
        if stop is not None and stop():
            return None
        shape = shapes[step]
        if not len(features):
            return shape.of_nothing()
        # Plain arrays: an OrtValue or an IO binding per step took longer, as no copy is saved on a CPU.
        found = sessions[step].run(None, {inputs[step]: features})
        return found[0] if shape.features else None, found[-1] if shape.dimensions else None

    return export.runner(export.manifest.form(run), onnx_words(export.manifest.precision, threads))


def _session(export: Export, step: ExportedStep, threads: int) -> Any:
    (content,), engine = export.content(step), onnxruntime()
    try:
        session = engine.InferenceSession(content, session_options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a kind of its own for each way to fail
        raise export.misfit(step, error) from error
    shapes = [tuple(port.shape[1:]) for port in (*session.get_inputs(), *session.get_outputs())]
    if shapes != [step.input, *step.outputs]:
        raise export.misfit(step, f"its shapes are {shapes}, expected {[step.input, *step.outputs]}")
    return session


def session_options(threads: int) -> Any:
    """How each session runs."""
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning threads stall other workers
    options.log_severity_level = 3
    return options


def onnxruntime() -> Any:
    """The package, or how to install it."""
    return engine_module("onnxruntime", "onnx")


def onnx_words(precision: str, threads: int) -> str:
    """Engine, precision and threads."""
    return f"{onnx_version()}, {precision}, cpu, {thread_words(threads)}"


def onnx_version() -> str:
    """The engine and its version."""
    return f"onnxruntime {onnxruntime().__version__}"
