"""A stage's pooling and head for the CPU: the batch norm folded into the first layer, pooling along memory."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_weights

from dare.models.dare import Step
from dare.models.stage import GlobalAveragePool, StripePool


class FoldedHead:
    """Feature map -> (B, D), in float32; the same as `Step.embed` up to rounding.

    Args:
        step: a tapped one.
        height: of the feature map, which stripes are cut from.
    """

    def __init__(self, step: Step, height: int) -> None:
        assert step.tap is not None
        assert isinstance(step.head, nn.Sequential)
        first, norm, _, last = step.head
        weight, bias = fuse_linear_bn_weights(
            first.weight, first.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        self._before, stripes = _pooling(step.tap, height)
        self._stripes = stripes
        if stripes:
            # A stage's vector holds the stripes of channel 1, then of channel 2; pooled along memory it is the reverse.
            weight = weight.unflatten(1, (-1, stripes)).transpose(1, 2).flatten(1)
        self._layers = [
            (weight.detach().t().contiguous(), bias.detach().clone()),
            (last.weight.detach().t().contiguous(), last.bias.detach().clone()),
        ]

    def __call__(self, features: Tensor) -> Tensor:
        pooled = self._before(features.float()) if self._before else features.float()
        if self._stripes:
            rows = pooled.permute(0, 2, 3, 1)  # channels last: as they lie in memory
            pooled = rows.reshape(len(rows), self._stripes, -1, rows.shape[3]).mean(2).flatten(1)
        (first, first_bias), (last, last_bias) = self._layers
        return torch.addmm(last_bias, torch.addmm(first_bias, pooled, first).relu_(), last)


def _pooling(tap: nn.Module, height: int) -> tuple[Callable[[Tensor], Tensor] | None, int]:
    """What to do before pooling, and the number of stripes to pool then; 0 where the tap pools in a way of its own."""
    if isinstance(tap, GlobalAveragePool):
        return None, 1
    if isinstance(tap, StripePool) and height % tap.stripes == 0:
        return None, tap.stripes
    if isinstance(tap, nn.Sequential) and isinstance(tap[-1], GlobalAveragePool):
        return tap[:-1], 1
    return tap, 0
