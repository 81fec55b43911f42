"""What differs between the formats: how a step is written, made int8, and what that needs."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.exporting import onnx_files, openvino_files
from dare.runners.channels_last import handed_over
from dare.runners.exported import PRECISIONS, ExportedRunner
from dare.runners.onnx import open_onnx
from dare.runners.openvino import open_openvino

SHARED_TOOLS = ("torch", "onnx", "onnxscript")


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of files.

    Attributes:
        write: a step's ONNX graph, where to (without a suffix), whether it takes pictures -> files, the graph first.
        write_int8: those files, what the step takes (N, ...), where to -> files.
        halve: rewrites a step's files with weights in float16.
        handed_over: shape of a feature map of torch -> of the engine, both without the batch.
        runner: opens a folder of such files.
        tools: packages that write them.
        int8_tools: packages that int8 needs besides.
    """

    write: Callable[[Any, Path, bool], list[Path]]
    write_int8: Callable[[list[Path], NDArray[np.float32], Path], list[Path]]
    halve: Callable[[list[Path]], None]
    handed_over: Callable[[tuple[int, ...]], tuple[int, ...]]
    runner: Callable[[Path], ExportedRunner]
    tools: tuple[str, ...]
    int8_tools: tuple[str, ...] = ()


FORMATS = {
    "onnx": Format(
        onnx_files.write_step,
        onnx_files.write_int8,
        onnx_files.halve,
        onnx_files.handed_over,
        open_onnx,
        (*SHARED_TOOLS, "onnxruntime"),
    ),
    "openvino": Format(
        openvino_files.write_step,
        openvino_files.write_int8,
        openvino_files.halve,
        handed_over,
        open_openvino,
        (*SHARED_TOOLS, "openvino"),
        ("nncf",),
    ),
}


def check_choice(format: str, precision: str, calibrate: Path | None, int8_steps: Collection[int] | None) -> None:
    """Refuse what does not go together, before anything is done.

    Raises:
        ValueError: unknown or unsuitable names, or int8 without pictures.
        ModuleNotFoundError: a package is missing; names the extra.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; choose {' or '.join(FORMATS)}")
    known = list(dict.fromkeys(name for names in PRECISIONS.values() for name in names))
    if precision not in known:
        raise ValueError(f"unknown precision {precision!r}; choose {', '.join(known)}")
    if precision not in PRECISIONS[format]:
        raise ValueError(
            f"{format} cannot be exported in {precision}: onnxruntime has no convolutions in bfloat16 on CPUs; "
            f"choose {' or '.join(PRECISIONS[format])}, or the format openvino"
        )
    if precision == "int8" and calibrate is None:
        raise ValueError("int8 needs pictures to find its ranges with; give a data set or a folder with --calibrate")
    if precision != "int8" and int8_steps is not None:
        raise ValueError(f"--int8-steps belongs to precision int8, got precision {precision}; leave one of them out")
    tools = (*FORMATS[format].tools, *(FORMATS[format].int8_tools if precision == "int8" else ()))
    for tool in tools:
        if find_spec(tool) is None:
            raise ModuleNotFoundError(
                f"exporting to {format} in {precision} needs {tool}; install it with: pip install 'dare-reid[export]'"
            )
