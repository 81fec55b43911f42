"""A stage: one part of a backbone, and how its feature map becomes a vector."""

from dataclasses import dataclass

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


class GlobalAveragePool(nn.Module):
    """(B, C, H, W) -> (B, C), whatever the size of the map."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


class StripePool(nn.Module):
    """Average of each horizontal stripe: (B, C, H, W) -> (B, stripes * C).

    A standing person's stripes are head, torso, legs: what is worn where survives the pooling.
    """

    def __init__(self, stripes: int) -> None:
        super().__init__()
        self.stripes = stripes

    def forward(self, features: Tensor) -> Tensor:
        height = features.shape[2]
        if height % self.stripes == 0:
            # The same as adaptive pooling where stripes are equally high, and faster.
            rows = features.mean(3).reshape(*features.shape[:2], self.stripes, height // self.stripes).mean(3)
        else:
            rows = F.adaptive_avg_pool2d(features, (self.stripes, 1)).squeeze(3)
        return rows.flatten(1)
