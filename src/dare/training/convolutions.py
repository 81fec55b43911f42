"""Convolutions that train fast on a CPU: what oneDNN is slow at, done otherwise."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from dare.training.depthwise import Depthwise

LAST = torch.channels_last


class FastConvolutions(TorchFunctionMode):
    """Within, some convolutions of images that keep channels last go other ways than torch's.

    Depthwise ones compute their gradients here. In bfloat16, those of single pixels are matrix products, and so are
    the weights' gradients of those that see few pixels.

    Args:
        bf16: whether the convolutions compute in bfloat16.
    """

    def __init__(self, bf16: bool) -> None:
        super().__init__()
        self._dtype = torch.bfloat16 if bf16 else torch.float32

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.conv2d:
            mixed = torch.is_autocast_enabled("cpu")  # what looks at a stage switches it off
            return _conv2d(self._dtype if mixed else torch.float32, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _conv2d(
    dtype: torch.dtype,
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    if isinstance(padding, str) or not (images.is_contiguous(memory_format=LAST) and torch.is_grad_enabled()):
        return F.conv2d(images, weight, bias, stride, padding, dilation, groups)
    settings = _pair(stride), _pair(padding), _pair(dilation), groups
    made: Tensor
    if groups == images.shape[1] == weight.shape[0] > 1:
        made = Depthwise.apply(images, weight, bias, dtype, settings)
        return made
    if dtype == torch.bfloat16 and groups == 1:
        (down, right), pad, _, _ = settings
        if max(weight.shape[2:]) == 1 and pad == (0, 0):
            # oneDNN's gradients of these take up to ten times as long, most of all where strides leave pixels out.
            pixels = images.permute(0, 2, 3, 1)[:, ::down, ::right]
            return F.linear(pixels, weight.flatten(1), bias).permute(0, 3, 1, 2)
        pixels_seen = len(images) * (images.shape[2] // down) * (images.shape[3] // right)
        if 2 * pixels_seen < weight[0].numel() and bias is None and images.requires_grad:
            made = FewPixels.apply(images, weight, settings)
            return made
    return F.conv2d(images, weight, bias, stride, padding, dilation, groups)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


class FewPixels(torch.autograd.Function):
    """A convolution in bfloat16 whose weights' gradients are one matrix product.

    oneDNN's take two to five times as long where pixels are fewer than a filter's weights; where they are many, what
    each filter sees of them takes longer to lay out than the product saves.

    Arguments are images, weight, and (stride, padding, dilation, groups = 1).
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, settings: Any) -> Tensor:
        low, filters = images.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(low, filters)
        ctx.settings, ctx.dtypes = settings, (images.dtype, weight.dtype)
        made: Tensor = F.conv2d(low, filters, None, *settings)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        low, filters = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        gradient = gradient.contiguous(memory_format=LAST)
        images, _, _ = torch.ops.aten.convolution_backward(
            gradient, low, filters, None, stride, padding, dilation, False, [0, 0], groups, [True, False, False]
        )
        (_, _, height, width), (_, _, *size) = gradient.shape, filters.shape
        seen = _windows(low, (height, width), (size[0], size[1]), stride, padding, dilation)
        weights = gradient.permute(0, 2, 3, 1).flatten(0, 2).T @ seen
        weights = weights.view(len(filters), *size, -1).permute(0, 3, 1, 2)
        return images.to(ctx.dtypes[0]), weights.to(ctx.dtypes[1]), None


def _windows(
    images: Tensor,
    places: tuple[int, int],
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """What each place of a convolution sees: (B, C, H, W) -> (B * places, K * L * C)."""
    (above, left), (down, right), (step, pace) = padding, stride, dilation
    last = F.pad(images.permute(0, 2, 3, 1), (0, 0, left, left, above, above))
    picture, row, column, channel = last.stride()
    windows = last.as_strided(
        (len(images), *places, *size, images.shape[1]),
        (picture, row * down, column * right, row * step, column * pace, channel),
    )
    return windows.flatten(3).flatten(0, 2)
