"""Convolutions that train fast on a CPU: what oneDNN is slow at, done otherwise."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from dare.files import compiled

LAST = torch.channels_last

Pair = tuple[int, int]
"""Of rows and of columns."""


class FastConvolutions(TorchFunctionMode):
    """Inside, some convolutions of images that keep channels last are computed in other ways than torch's.

    Depthwise ones compute their gradients here. In bfloat16, 1x1 convolutions are matrix products, and so are the
    weights' gradients of those that see few pixels.

    Args:
        bf16: whether the convolutions compute in bfloat16.
    """

    def __init__(self, bf16: bool) -> None:
        super().__init__()
        self._dtype = torch.bfloat16 if bf16 else torch.float32

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") == "conv2d":  # nncf puts functions of its own in torch's place
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


def _pair(value: int | Sequence[int]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


class FewPixels(torch.autograd.Function):
    """A convolution in bfloat16 whose weights' gradients are one matrix product.

    oneDNN's take two to five times as long where pixels are fewer than a filter's weights; where they are many,
    laying out what each filter sees takes longer than the product saves.

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
        seen = _windows(low, (height, width), _pair(size), stride, padding, dilation)
        weights = gradient.permute(0, 2, 3, 1).flatten(0, 2).T @ seen
        weights = weights.view(len(filters), *size, -1).permute(0, 3, 1, 2)
        return images.to(ctx.dtypes[0]), weights.to(ctx.dtypes[1]), None


def _windows(images: Tensor, places: Pair, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """What each place of a convolution sees: (B, C, H, W) -> (B * places, K * L * C)."""
    (above, left), (down, right), (step, pace) = padding, stride, dilation
    last = F.pad(images.permute(0, 2, 3, 1), (0, 0, left, left, above, above))
    picture, row, column, channel = last.stride()
    windows = last.as_strided(
        (len(images), *places, *size, images.shape[1]),
        (picture, row * down, column * right, row * step, column * pace, channel),
    )
    return windows.flatten(3).flatten(0, 2)


class Depthwise(torch.autograd.Function):
    """A depthwise convolution of images that keep channels last, whose gradients are computed here.

    oneDNN has no fast code for the weights' gradients of 5x5 kernels, and in bfloat16 none for the inputs' at stride
    2 either: these alone took longer than all the rest of a step.

    Arguments are images, weight, bias, what to compute in, and (stride, padding, dilation, groups). The weights'
    gradients are sums in float32 in either precision.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, settings: Any
    ) -> Tensor:
        low = images.to(dtype)
        ctx.save_for_backward(low, weight)
        ctx.settings, ctx.dtype, ctx.biased = settings, images.dtype, bias is not None
        made: Tensor = F.conv2d(low, weight.to(dtype), None if bias is None else bias.to(dtype), *settings)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        low, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        images = weights = bias = None
        if ctx.needs_input_grad[0]:
            dtype = torch.float32 if max(stride) > 1 else low.dtype
            images, _, _ = torch.ops.aten.convolution_backward(
                gradient.to(dtype), low.to(dtype), weight.to(dtype), None, stride, padding, dilation,
                False, [0, 0], groups, [True, False, False],
            )  # fmt: skip
            images = images.to(ctx.dtype)
        if ctx.needs_input_grad[1]:
            weights = weight_gradients(low, gradient, _pair(weight.shape[2:]), stride, padding, dilation)
        if ctx.biased and ctx.needs_input_grad[2]:
            bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        return images, weights, bias, None, None


def weight_gradients(
    images: Tensor, gradient: Tensor, size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """Gradient of a depthwise convolution's weights, (C, 1, K, L), with torch's number of threads.

    Args:
        images: (B, C, H, W), channels last in memory, float32 or bfloat16.
        gradient: of the result, (B, C, H', W'), channels last too.
        size: K and L.
    """
    if images.dtype == torch.float32 and max(size) <= 3:  # what oneDNN is good at
        weight = images.new_empty(images.shape[1], 1, *size)
        made: Tensor = torch.ops.aten.convolution_backward(
            gradient, images, weight, None, stride, padding, dilation, False, [0, 0], len(weight), [False, True, False]
        )[1]
        return made
    threads = min(torch.get_num_threads(), len(images))
    sums = np.zeros((threads, *size, images.shape[1]), np.float32)
    pictures, slopes = (np.array_split(_last(values), threads) for values in (images, gradient))
    settings: tuple[int, ...] = (*stride, *padding, *dilation)
    if threads == 1:
        _weight_gradients(pictures[0], slopes[0], sums[0], *settings)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda part: _weight_gradients(*part, *settings), zip(pictures, slopes, sums, strict=True)))
    return torch.from_numpy(sums.sum(0)).permute(2, 0, 1)[:, None].contiguous()


def _last(images: Tensor) -> NDArray[Any]:
    """(B, H, W, C) in the same memory; bfloat16 as 16-bit integers, which numpy has."""
    values = images.detach().permute(0, 2, 3, 1)
    whole: NDArray[Any] = (values.view(torch.uint16) if values.dtype == torch.bfloat16 else values).numpy()
    return whole


@compiled()
def _weight_gradients(
    images: Any, gradients: Any, sums: Any, down: int, right: int, above: int, left: int, step: int, pace: int
) -> None:
    """Picture by picture, so that what was summed is in a cache and sums stay short."""
    high, wide, channels = sums.shape
    rows, columns = images.shape[1], images.shape[2]
    own = np.empty_like(sums)
    for number in range(len(images)):
        image, gradient = _float32(images[number]), _float32(gradients[number])
        own[:] = 0
        for place in range(len(gradient)):
            for tap in range(high):
                row = place * down + tap * step - above
                if row < 0 or row >= rows:
                    continue
                for across in range(gradient.shape[1]):
                    slope = gradient[place, across]
                    for side in range(wide):
                        column = across * right + side * pace - left
                        if column < 0 or column >= columns:
                            continue
                        into, pixel = own[tap, side], image[row, column]
                        for channel in range(channels):
                            into[channel] += slope[channel] * pixel[channel]
        sums += own


@compiled()
def _float32(values: Any) -> Any:
    """A picture (H, W, C) in float32; bfloat16 is float32's upper half."""
    if values.itemsize == 4:
        return values.view(np.float32)
    wide = np.empty(values.shape, np.uint32)
    into, flat = wide.reshape(-1), values.reshape(-1)
    for place in range(len(flat)):
        into[place] = np.uint32(flat[place]) << np.uint32(16)
    return wide.view(np.float32)
