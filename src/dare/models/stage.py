"""A stage: one part of a backbone, and how its feature map becomes a vector."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Stage:
    """All that a head needs to know of a backbone's part; a backbone is a list of these.

    Attributes:
        body: images or the feature map of the stage before -> feature map.
        tap: feature map -> (B, channels), pooling included.
        channels: size of the tap's vector.
    """

    body: nn.Module
    tap: nn.Module
    channels: int


def map_channels(stage: Stage) -> int:
    """Channels of a stage's feature map, for a network that looks at the map itself.

    Raises:
        ValueError: the tap does more than pooling, so the map alone isn't what the stage means.
    """
    if isinstance(stage.tap, StripePool):
        return stage.channels // stage.tap.parts
    if isinstance(stage.tap, GlobalAveragePool):
        return stage.channels
    raise ValueError(
        f"expected a stage that is pooled by its average, got {type(stage.tap).__name__}; "
        "choose a trunk such as resnet50, mscan or slim"
    )


def average(features: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The mean over axes of a map; with gradients, as a divided sum: a mean's gradient divides the whole map."""
    if not features.requires_grad:
        return features.mean(axes)
    return features.sum(axes) / math.prod(features.shape[axis] for axis in axes)


class GlobalAveragePool(nn.Module):
    """(B, C, H, W) -> (B, C), whatever the size of the map."""

    def forward(self, features: Tensor) -> Tensor:
        return average(features, (2, 3))


class MapPool(nn.Module):
    """(B, H, W, C) -> (B, C), for networks that keep channels last, such as Swin."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((1, 2))


class WindowMaxPool(nn.Module):
    """Largest value in each of height x width windows: (B, C, H, W) -> (B, C, height, width), whatever the map's size.

    What torch calls adaptive max pooling, in steps that exporters know.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = height, width

    def forward(self, features: Tensor) -> Tensor:
        for axis, count in zip((2, 3), self.size, strict=True):
            length = features.shape[axis]
            starts = [number * length // count for number in range(count)]
            ends = [-(-(number + 1) * length // count) for number in range(count)]
            windows = [features.narrow(axis, a, b - a).amax(axis) for a, b in zip(starts, ends, strict=True)]
            features = torch.stack(windows, axis)
        return features


class StripePool(nn.Module):
    """Average of each horizontal stripe: (B, C, H, W) -> (B, parts * C).

    A standing person's stripes are head, torso, legs: the pooling keeps what is worn where.

    Args:
        stripes: number of them.
        peak: join each channel's maximum over the map to them, which keeps small things such as a bag.

    Attributes:
        parts: vectors of C channels that are joined.
    """

    def __init__(self, stripes: int, *, peak: bool = False) -> None:
        super().__init__()
        self.stripes, self.peak, self.parts = stripes, peak, stripes + peak

    def forward(self, features: Tensor) -> Tensor:
        height = features.shape[2]
        if height % self.stripes == 0:
            # For stripes of equal height: the same as adaptive pooling, and faster.
            rows = average(features, (3,)).reshape(*features.shape[:2], self.stripes, height // self.stripes).mean(3)
        else:
            rows = F.adaptive_avg_pool2d(features, (self.stripes, 1)).squeeze(3)
        stripes = rows.flatten(1)
        return torch.cat([stripes, features.amax((2, 3))], 1) if self.peak else stripes


def striped(blocks: Sequence[nn.Module], channels: int) -> Stage:
    """A stage whose map is tapped by four stripes and the maximum over the map."""
    tap = StripePool(4, peak=True)
    return Stage(nn.Sequential(*blocks), tap, tap.parts * channels)
