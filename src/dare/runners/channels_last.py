"""How OpenVINO's steps hand feature maps to each other: with channels last, as its convolutions keep them."""

import math
from typing import Any

import numpy as np


def handed_over(features: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a feature map, without the batch: (C, H, W) -> (H * W, C); vectors (D,) as they are."""
    return (math.prod(features[1:]), features[0]) if len(features) == 3 else features


def give_channels_last(model: Any) -> None:
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


def take_channels_last(model: Any) -> None:
    """The step takes what `give_channels_last` made the one before give."""
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
