"""The formats: how a step is written, in int8 and with weights in float16, and what that needs."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.exporting.graphs import INPUT, quiet
from dare.runners.channels_last import give_channels_last, handed_over, take_channels_last
from dare.runners.exported import PRECISIONS, ExportError
from dare.runners.onnx import open_onnx
from dare.runners.openvino import open_openvino
from dare.runners.runner import Runner

MOST_BYTES = 2**31 - 2**20
"""What one ONNX file can hold; beyond it weights would need files of their own."""

HEAD = ("Gemm", "MatMul", "ReduceMean", "Reshape", "AveragePool", "LayerNormalization")
"""Operations that stay in float32: heads are 0.2 % of the work, and their vectors are what distances compare."""

BATCH = 8

LEAST_HALVED = 256
"""Numbers that a tensor must have to be kept in float16; of smaller ones there is nothing to be saved."""

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
    runner: Callable[[Path], Runner]
    tools: tuple[str, ...]
    int8_tools: tuple[str, ...] = ()


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


def _onnx_step(graph: Any, path: Path, is_first: bool) -> list[Path]:
    """Write a step's graph; returns the files, the graph first."""
    if graph.ByteSize() > MOST_BYTES:
        raise ExportError(
            f"a step of {graph.ByteSize() / 1e9:.1f} GB does not fit into an ONNX file of at most 2 GB; "
            "export a smaller network"
        )
    path = path.with_suffix(".onnx")
    path.write_bytes(graph.SerializeToString())
    return [path]


def _onnx_int8(files: list[Path], pictures: NDArray[np.float32], path: Path) -> list[Path]:
    """Write a step in int8, as `Format.write` wrote it in fp32.

    Activations are unsigned and weights signed, per channel: measured twice as fast as signed activations on a
    processor with VNNI, and as exact. The ranges are the least and the greatest values seen.

    Args:
        pictures: what the step takes, of the pictures to calibrate with.
    """
    with quiet():
        import onnx
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        graph = onnx.load(files[0])
        path = path.with_suffix(".onnx")
        quantize_static(
            str(files[0]),
            str(path),
            _Reader(pictures),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=[node.name for node in graph.graph.node if node.op_type in HEAD],
        )
    return [path]


def _onnx_half(files: list[Path]) -> None:
    """Keep the weights of a step in float16, and turn them back when the file is loaded: half the size, as fast."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    (path,) = files
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if (
            values.dtype == np.float32
            and values.size >= LEAST_HALVED
            and np.abs(values).max() < np.finfo(np.float16).max
        ):
            whole = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{whole}_half"))
            casts.append(helper.make_node("Cast", [tensor.name], [whole], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    path.write_bytes(model.SerializeToString())


class _Reader:
    """onnxruntime's `CalibrationDataReader`, without inheriting from it."""

    def __init__(self, pictures: NDArray[np.float32]) -> None:
        self._batches: Iterator[NDArray[np.float32]] = iter(
            [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}

    def __len__(self) -> int:
        return 0


def _openvino_step(graph: Any, path: Path, is_first: bool) -> list[Path]:
    """Write a step's ONNX graph for OpenVINO; returns the files, the graph first, then the weights.

    Args:
        is_first: whether it takes pictures, (B, 3, H, W), rather than a feature map.
    """
    import openvino

    model = openvino.Core().read_model(graph.SerializeToString())
    give_channels_last(model)
    if not is_first:
        take_channels_last(model)
    model.validate_nodes_and_infer_types()
    return _save(model, path)


def _openvino_int8(files: list[Path], pictures: NDArray[np.float32], path: Path) -> list[Path]:
    """Write a step in int8, as `Format.write` wrote it in fp32; heads stay in fp32.

    Args:
        pictures: what the step takes, of the pictures to calibrate with.
    """
    import openvino

    with quiet(), untold():
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet as ranges  # noqa: N813

        model = nncf.quantize(
            openvino.Core().read_model(files[0]),
            nncf.Dataset([picture[None] for picture in pictures]),
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(types=["MatMul", "ReduceMean"], validate=False),
            # By default the greatest values of pictures are averaged, and what lies above is cut off: less exact here.
            advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges.MINMAX),
        )
    return _save(model, path)


def _openvino_half(files: list[Path]) -> None:
    """Keep the weights of a step in float16: half the size."""
    import openvino

    # From memory: a model that is read from a path maps the file that is to be written.
    graph, weights = (path.read_bytes() for path in files)
    _save(openvino.Core().read_model(graph, weights), files[0], half=True)


def _save(model: Any, path: Path, *, half: bool = False) -> list[Path]:
    import openvino

    path = path.with_suffix(".xml")
    openvino.save_model(model, path, compress_to_fp16=half)
    return [path, path.with_suffix(".bin")]


@contextlib.contextmanager
def untold() -> Iterator[None]:
    """nncf sends usage statistics unless it thinks it is being tested; nobody was asked."""
    name = "NNCF_CI"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


FORMATS = {
    "onnx": Format(_onnx_step, _onnx_int8, _onnx_half, tuple, open_onnx, (*SHARED_TOOLS, "onnxruntime")),
    "openvino": Format(
        _openvino_step,
        _openvino_int8,
        _openvino_half,
        handed_over,
        open_openvino,
        (*SHARED_TOOLS, "openvino"),
        ("nncf",),
    ),
}
