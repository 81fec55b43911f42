"""How a training step is computed: precision, memory that is kept, and fast gradients of depthwise convolutions."""

import copy
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from dare.models.dare import DaRe
from dare.training.objectives import Batch, Objective

ROUNDS = 2
GAIN = 1.1
"""How much faster than float32 bfloat16 must be: near a draw the exact one is taken."""


@contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """Within, convolutions and products compute as the precision says, "fp32" or "bf16"."""
    bf16 = precision == "bf16"
    depthwise = FastDepthwise(bf16) if device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16), depthwise:
        yield


def choose_precision(
    asked: str,
    device: torch.device,
    model: DaRe,
    objective: Objective,
    batch: Callable[[int], Batch],
    iteration: int,
) -> str:
    """ "fp32" or "bf16": what was asked for, or by "auto" what the device is made for; on a CPU, what is faster.

    Timed on copies of the model and of what it is trained for, so that no trace is left but in torch's random numbers;
    by the processor's time, which other programs change less than the clock's.
    """
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device.type != "cpu" or not _has_bf16():
        return "fp32"
    model, objective = copy.deepcopy((model, objective))
    shown = batch(iteration)
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(1 + ROUNDS):
        for precision, times in seconds.items():
            before = time.process_time()
            model.zero_grad()
            objective.zero_grad()
            with computing(precision, device):
                losses = objective(model, shown, iteration)
            losses.total.backward()
            times.append(time.process_time() - before)
    fp32, bf16 = (min(times[1:]) for times in seconds.values())  # the first one prepares kernels
    return "bf16" if GAIN * bf16 < fp32 else "fp32"


def _has_bf16() -> bool:
    """Whether the CPU has instructions for bfloat16; a torch that cannot tell has it measured."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return True
    return any(has for name, has in torch.cpu.get_capabilities().items() if "bf16" in name)


# Parameters of glibc's mallopt (malloc.h), and what they are set to.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
KEEPING = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 64 << 20}
# What glibc comes to by itself in a process that frees large blocks; its rules cannot be switched on again.
USUAL = {M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20, M_TOP_PAD: 128 << 10}


@contextmanager
def memory_kept() -> Iterator[None]:
    """Within, freed memory stays with the process; behind it, what is free goes back to the system.

    glibc returns large blocks at once and asks for them again at the next step, and the system clears every page of
    them: of a training step on a CPU that is up to half of the time. Where there is no glibc nothing happens.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    for parameter, value in KEEPING.items():
        libc.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in USUAL.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc."""
    return ctypes.CDLL(None) if "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}) else None


class FastDepthwise(TorchFunctionMode):
    """Within, depthwise convolutions of images that keep channels last compute their gradients here.

    oneDNN has no fast code for the weights' gradients of 5x5 kernels, and in bfloat16 none for the inputs' at stride
    2 either: these alone took longer than all the rest of a step.

    Args:
        bf16: whether the convolutions compute in bfloat16. Their weights' gradients are sums in float32 all the same.
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
    depthwise = groups == images.shape[1] == weight.shape[0] > 1 and not isinstance(padding, str)
    if not (depthwise and images.is_contiguous(memory_format=torch.channels_last) and torch.is_grad_enabled()):
        return F.conv2d(images, weight, bias, stride, padding, dilation, groups)
    made: Tensor = _Depthwise.apply(
        images, weight, bias, dtype, (_pair(stride), _pair(padding), _pair(dilation), groups)
    )
    return made


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


class _Depthwise(torch.autograd.Function):
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
            weights = weight_gradients(low, gradient, tuple(weight.shape[2:]), stride, padding, dilation)
        if ctx.biased and ctx.needs_input_grad[2]:
            bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        return images, weights, bias, None, None


def weight_gradients(
    images: Tensor,
    gradient: Tensor,
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """Gradient of a depthwise convolution's weights, (C, 1, K, L), by as many threads as torch has.

    Args:
        images: (B, C, H, W), channels last in memory, float32 or bfloat16.
        gradient: of what was made of them, (B, C, H', W'), alike.
        size: K and L.
        stride, padding, dilation: of rows and of columns.
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


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def _float32(values: Any) -> Any:
    """A picture (H, W, C) in float32; bfloat16 is float32's upper half."""
    if values.itemsize == 4:
        return values.view(np.float32)
    wide = np.empty(values.shape, np.uint32)
    into, flat = wide.reshape(-1), values.reshape(-1)
    for place in range(len(flat)):
        into[place] = np.uint32(flat[place]) << np.uint32(16)
    return wide.view(np.float32)
