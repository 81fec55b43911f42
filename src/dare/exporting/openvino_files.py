"""Steps as files of OpenVINO, whole or in int8."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.exporting.quiet import quiet, untold
from dare.runners.channels_last import give_channels_last, take_channels_last


def write_step(graph: Any, path: Path, is_first: bool) -> list[Path]:
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
