"""The trunk of MSCAN: each convolution looks at three scales at once, made for 160x64 pictures.

Source: Li et al., "Learning Deep Context-aware Features over Body and Latent Parts for Person Re-identification", CVPR
2017. Its last pooling is left to what stands on the trunk, which cuts parts out of the map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dare.models.stage import GlobalAveragePool, Stage
from dare.models.weights import Weights

DILATIONS = (1, 2, 3)
WIDTH = 32
"""Channels of each dilation, and of the first convolution."""


def mscan(weights: Weights = None) -> list[Stage]:
    """Four stages of 96 channels; their maps are a quarter, an eighth and twice a sixteenth of the picture.

    Args:
        weights: only None, which is random: nobody has published any.
    """
    if weights is not None:
        raise ValueError(
            f"there are no published weights for the mscan trunk, got {str(weights)!r}; "
            "train from random weights (none), or start from a checkpoint (init)"
        )
    joined = WIDTH * len(DILATIONS)
    stem = [nn.Conv2d(3, WIDTH, 5, padding=2, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.MaxPool2d(2)]
    bodies = [
        nn.Sequential(*stem, MultiScale(WIDTH), nn.MaxPool2d(2)),
        nn.Sequential(MultiScale(joined), nn.MaxPool2d(2)),
        nn.Sequential(MultiScale(joined), nn.MaxPool2d(2)),
        MultiScale(joined),
    ]
    return [Stage(body, GlobalAveragePool(), joined) for body in bodies]


class MultiScale(nn.Module):
    """3x3 convolutions of one map at dilations 1, 2 and 3, side by side: (B, C, H, W) -> (B, 96, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Conv2d(channels, WIDTH, 3, padding=dilation, dilation=dilation, bias=False) for dilation in DILATIONS
        )
        self.norm = nn.BatchNorm2d(WIDTH * len(DILATIONS))

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.norm(torch.cat([scale(features) for scale in self.scales], 1)))
