"""Steps as files of OpenVINO, whole or in int8."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.exporting.quiet import quiet, untold


def handed_over(features: tuple[int, ...]) -> tuple[int, ...]:
    """(C, H, W) -> (H * W, C); vectors (D,) as they are."""
    return (math.prod(features[1:]), features[0]) if len(features) == 3 else features


def write_step(graph: Any, path: Path, is_first: bool) -> list[Path]:
    """Write a step's ONNX graph for OpenVINO; returns the files, the graph first, then the weights.

    Args:
        is_first: whether it takes pictures, (B, 3, H, W), rather than a feature map.
    """
    import openvino

    model = openvino.Core().read_model(graph.SerializeToString())
    _give_channels_last(model)
    if not is_first:
        _take_channels_last(model)
    model.validate_nodes_and_infer_types()
    return _save(model, path)


def write_int8(files: list[Path], pictures: NDArray[np.float32], path: Path) -> list[Path]:
    """Write a step in int8, as `write_step` wrote it in fp32; heads stay in fp32.

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


def halve(files: list[Path]) -> None:
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


def _give_channels_last(model: Any) -> None:
    """Feature maps (B, C, H, W) come out as (B, H * W, C).

    That is how OpenVINO's convolutions keep them. It recognises just this pair of operations as no work at all; a plain
    transposition to (B, H, W, C) it carries out, twice.
    """
    for result in model.get_results():
        source = result.input_value(0)
        if len(source.get_partial_shape()) == 4:
            ops, names = _operations(), source.get_names()
            flat = ops.transpose(ops.reshape(source, _constant(0, 0, -1), True), _constant(0, 2, 1))
            source.set_names(set())
            flat.output(0).set_names(names)
            result.input(0).replace_source_output(flat.output(0))


def _take_channels_last(model: Any) -> None:
    """The step takes what `_give_channels_last` made the one before give."""
    (parameter,) = model.get_parameters()
    _, channels, height, width = (side.get_length() if side.is_static else -1 for side in parameter.get_partial_shape())
    ops = _operations()
    flat = ops.parameter([-1, height * width, channels], np.float32, name=parameter.get_friendly_name())
    flat.output(0).set_names(parameter.output(0).get_names())
    whole = ops.reshape(ops.transpose(flat, _constant(0, 2, 1)), _constant(0, channels, height, width), True)
    for target in parameter.output(0).get_target_inputs():
        target.replace_source_output(whole.output(0))
    model.remove_parameter(parameter)
    model.add_parameters([flat])


def _operations() -> Any:
    from openvino import opset13

    return opset13


def _constant(*values: int) -> Any:
    return _operations().constant(np.asarray(values, np.int64))
