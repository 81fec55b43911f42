"""Small graphs as others would export them, which tests of foreign networks share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

HEIGHT, WIDTH = 32, 16
DIMENSIONS = 5
MACS = 16 * 8 * 4 * 27 + 16 * 8 * 9 * 4 + 4 * DIMENSIONS
"""Of `graph`: a 3x3 convolution of 3 to 4 channels, a depthwise one, a matrix product."""

Shape = Sequence[int | str]


def graph(
    batch: int | str = "batch",
    height: int | str = HEIGHT,
    width: int | str = WIDTH,
    *,
    nodes: Sequence[Any] = (),
    inputs: Sequence[tuple[str, int, Shape]] | None = None,
    outputs: Sequence[tuple[str, int, Shape]] | None = None,
    seed: int = 0,
) -> Any:
    """Two convolutions, a global mean and a matrix product: "images" -> "vectors".

    Args:
        nodes: put behind these.
    """
    random = np.random.default_rng(seed)
    weights = {
        "first": random.normal(size=(4, 3, 3, 3)),
        "second": random.normal(size=(4, 1, 3, 3)),
        "matrix": random.normal(size=(4, DIMENSIONS)),
        "bias": random.normal(size=DIMENSIONS),
    }
    chain = [
        helper.make_node("Conv", ["images", "first"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], pads=[1, 1, 1, 1], group=4),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "matrix", "bias"], ["vectors"]),
    ]
    inputs = [("images", TensorProto.FLOAT, [batch, 3, height, width])] if inputs is None else inputs
    outputs = [("vectors", TensorProto.FLOAT, [batch, DIMENSIONS])] if outputs is None else outputs
    return made([*chain, *nodes], inputs, outputs, weights)


def made(
    nodes: Sequence[Any],
    inputs: Sequence[tuple[str, int, Shape]],
    outputs: Sequence[tuple[str, int, Shape]],
    weights: dict[str, Any],
) -> Any:
    """A model of nodes, with weights in float32."""
    ports = [[helper.make_tensor_value_info(*port) for port in several] for several in (inputs, outputs)]
    tensors = [numpy_helper.from_array(np.asarray(values, np.float32), name) for name, values in weights.items()]
    return helper.make_model(
        helper.make_graph(nodes, "made for a test", *ports, tensors),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def save(model: Any, file: Path, **said: str) -> Path:
    """As .onnx, or as .xml and .bin.

    Args:
        said: what OpenVINO's converter would write down of its settings.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".onnx":
        onnx.save(model, file)
        return file
    import openvino

    from dare.runners.openvino import core

    aside = file.with_suffix(".aside.onnx")
    onnx.save(model, aside)
    converted = core().read_model(aside)
    aside.unlink()
    for name, value in said.items():
        converted.set_rt_info(value, ["conversion_parameters", name])
    openvino.save_model(converted, file, compress_to_fp16=False)
    return file


def vectors(model: Any, images: np.ndarray) -> np.ndarray:
    """What the standard's own implementation makes of what goes into the graph."""
    found: np.ndarray = ReferenceEvaluator(model).run(None, {"images": images.astype(np.float32)})[0]
    return found


def unit(rows: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled
