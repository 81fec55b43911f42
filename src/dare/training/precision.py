"""What a network computes in while it trains: float32, or bfloat16 where that is faster."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
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
    if precision == "fp32":
        yield
        return
    with torch.autocast(device.type, torch.bfloat16):
        if device.type == "cpu":
            with _DepthwiseGradients():
                yield
        else:
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


class _DepthwiseGradients(TorchFunctionMode):
    """Depthwise convolutions whose gradients are computed in float32.

    oneDNN has no fast bfloat16 code for their weights' gradients of 5x5 kernels and their inputs' gradients at stride
    2: these took ten times as long as in float32, and longer than all the rest of a step.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return _conv2d(*args, **kwargs) if func is F.conv2d else func(*args, **kwargs)


def _conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    mixed = torch.is_autocast_enabled("cpu")  # heads switch it off
    if groups == 1 or weight.shape[1] > 1 or isinstance(padding, str) or not mixed:
        return F.conv2d(images, weight, bias, stride, padding, dilation, groups)
    made: Tensor = _Depthwise.apply(images, weight, bias, *map(_pair, (stride, padding, dilation)), groups)
    return made


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution in bfloat16, its gradients in float32."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
    ) -> Tensor:
        low = images.bfloat16()
        ctx.save_for_backward(low, weight)
        ctx.settings, ctx.dtype = (stride, padding, dilation, groups), images.dtype
        ctx.bias = None if bias is None else list(bias.shape)
        made: Tensor = F.conv2d(
            low, weight.bfloat16(), None if bias is None else bias.bfloat16(), stride, padding, dilation, groups
        )
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        low, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        wanted = list(ctx.needs_input_grad[:3])
        images, weights, bias = torch.ops.aten.convolution_backward(
            gradient.float(), low.float(), weight, ctx.bias, stride, padding, dilation, False, [0, 0], groups, wanted
        )
        return None if images is None else images.to(ctx.dtype), weights, bias, None, None, None, None
