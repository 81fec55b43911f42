"""Steps as ONNX files, whole or in int8."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.exporting.graphs import INPUT
from dare.exporting.quiet import quiet
from dare.runners.exported import ExportError

MOST_BYTES = 2**31 - 2**20
"""What one ONNX file can hold; beyond it weights would need files of their own."""

HEAD = ("Gemm", "MatMul", "ReduceMean", "Reshape", "AveragePool", "LayerNormalization")
"""Operations that stay in float32: heads are 0.2 % of the work, and their vectors are what distances compare."""

BATCH = 8

LEAST_HALVED = 256
"""Numbers that a tensor must have to be kept in float16; of smaller ones there is nothing to be saved."""


def handed_over(features: tuple[int, ...]) -> tuple[int, ...]:
    """Feature maps are handed over as torch has them."""
    return features


def write_step(graph: Any, path: Path, is_first: bool) -> list[Path]:
    """Write a step's graph; returns the files, the graph first."""
    if graph.ByteSize() > MOST_BYTES:
        raise ExportError(
            f"a step of {graph.ByteSize() / 1e9:.1f} GB does not fit into an ONNX file of at most 2 GB; "
            "export a smaller network"
        )
    path = path.with_suffix(".onnx")
    path.write_bytes(graph.SerializeToString())
    return [path]


def write_int8(files: list[Path], pictures: NDArray[np.float32], path: Path) -> list[Path]:
    """Write a step in int8, as `write_step` wrote it in fp32.

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


def halve(files: list[Path]) -> None:
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
