"""A stage's pooling and head for the CPU: the batch norm folded into the first layer, pooling along memory."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dare.models.dare import Step, Unit
from dare.models.stage import GlobalAveragePool, StripePool

PAPERS_HEAD = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
HEADS = (PAPERS_HEAD, [*PAPERS_HEAD, Unit])


def pack_head(step: Step) -> Callable[[Tensor], Tensor]:
    """Feature map -> (B, D) of a tapped step; heads of another form than the paper's run as they are."""
    is_papers = isinstance(step.head, nn.Sequential) and [type(part) for part in step.head] in HEADS
    return FoldedHead(step) if is_papers else step.embed


class FoldedHead:
    """Feature map -> (B, D), in float32: the same as `Step.embed` up to rounding.

    Args:
        step: a tapped one, with the paper's head.
    """

    def __init__(self, step: Step) -> None:
        assert step.tap is not None
        assert isinstance(step.head, nn.Sequential)
        first, norm, _, last, *unit = step.head
        assert isinstance(first, nn.Linear)
        assert isinstance(norm, nn.BatchNorm1d)
        assert isinstance(last, nn.Linear)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = (first.bias - norm.running_mean) * scale + norm.bias
        # Transposed: a product of one row with it reads memory in order.
        self._hidden, self._hidden_bias = (first.weight * scale[:, None]).detach().t().contiguous(), bias.detach()
        self._last, self._last_bias = last.weight.detach().t().contiguous(), last.bias.detach()
        self._tap, self._unit = step.tap, bool(unit)

    def __call__(self, features: Tensor) -> Tensor:
        hidden = torch.addmm(self._hidden_bias, _pooled(self._tap, features.float()), self._hidden).relu_()
        vectors = torch.addmm(self._last_bias, hidden, self._last)
        return F.normalize(vectors, dim=1) if self._unit else vectors


def _pooled(tap: nn.Module, features: Tensor) -> Tensor:
    """As the tap does, by means and maxima over memory in order: maps are channels last."""
    if isinstance(tap, nn.Sequential) and isinstance(tap[-1], GlobalAveragePool):
        features, tap = tap[:-1](features), tap[-1]
    stripes = tap.stripes if isinstance(tap, StripePool) else 1
    if not isinstance(tap, GlobalAveragePool | StripePool) or features.shape[2] % stripes:
        pooled: Tensor = tap(features)
        return pooled
    batch, channels, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(batch, stripes, height // stripes * width, channels)
    means = rows.mean(2).transpose(1, 2).flatten(1)
    return torch.cat([means, rows.amax((1, 2))], 1) if isinstance(tap, StripePool) and tap.peak else means
