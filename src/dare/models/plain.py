"""Plain trunks that start from random weights: `slim` and `tiny`, ours for CPUs, and `mscan`.

Source of `mscan`: Li et al., "Learning Deep Context-aware Features over Body and Latent Parts for Person
Re-identification", CVPR 2017. Its last pooling is left to what stands on the trunk, which cuts parts out of the map.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dare.models.stage import GlobalAveragePool, Stage, StripePool
from dare.models.weights import Weights

SLIM_STAGES = (((32, 1), (48, 2)), ((64, 1), (64, 1)), ((96, 1),), ((128, 1),))
TINY_STAGES = (((16, 1),), ((32, 2),), ((64, 2),), ((128, 1),))

DILATIONS = (1, 2, 3)
WIDTH = 32
"""Channels of each of MSCAN's dilations, and of its first convolution."""


def slim(
    weights: Weights = None,
    *,
    stages: Sequence[Sequence[tuple[int, int]]] = SLIM_STAGES,
    stem: int = 24,
    stripes: int = 4,
) -> list[Stage]:
    """Stages of basic blocks; the feature map stays fine (16x8 of 128x64) to the end.

    Args:
        weights: only None, which is random: nobody has published any.
        stages: for each stage its blocks, as (channels, stride).
        stem: channels of the first convolution, which is followed by a pooling, each of stride 2.
        stripes: horizontal stripes that are pooled and joined, so a stage has `stripes * channels` channels.
    """
    _refuse("slim", weights)
    cut: list[Stage] = []
    channels = stem
    for blocks in stages:
        body: list[nn.Module] = [] if cut else _stem(stem)
        for width, stride in blocks:
            body.append(Block(channels, width, stride))
            channels = width
        cut.append(Stage(nn.Sequential(*body), StripePool(stripes), stripes * channels))
    return cut


def tiny(weights: Weights = None) -> list[Stage]:
    """A trunk for demonstrations and tests: one narrow block a stage, pooled as a whole; made for 64x32 pictures."""
    _refuse("tiny", weights)
    return slim(weights, stages=TINY_STAGES, stem=8, stripes=1)


def mscan(weights: Weights = None) -> list[Stage]:
    """Four stages of 96 channels, made for 160x64; maps of a quarter, an eighth and twice a sixteenth of the picture.

    Args:
        weights: only None, which is random: nobody has published any.
    """
    _refuse("mscan", weights)
    joined = WIDTH * len(DILATIONS)
    stem = [nn.Conv2d(3, WIDTH, 5, padding=2, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.MaxPool2d(2)]
    bodies = [
        nn.Sequential(*stem, MultiScale(WIDTH), nn.MaxPool2d(2)),
        nn.Sequential(MultiScale(joined), nn.MaxPool2d(2)),
        nn.Sequential(MultiScale(joined), nn.MaxPool2d(2)),
        MultiScale(joined),
    ]
    return [Stage(body, GlobalAveragePool(), joined) for body in bodies]


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, the basic block)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, features: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(features)))
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(features))


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


def _stem(channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(3, channels, 3, 2, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]


def _refuse(trunk: str, weights: Weights) -> None:
    if weights is not None:
        raise ValueError(
            f"the trunk {trunk} starts from random weights only, got {str(weights)!r}; "
            "give none as weights, or start from a checkpoint (init)"
        )
