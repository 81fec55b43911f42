"""MSCAN: the whole body and three parts of it, whose places in the map are learnt within limits.

For each part a small network finds a box, which is cut out of the trunk's last map by a spatial transformer that can
shift and stretch. Boxes drift without guidance, so a loss keeps them near where head, torso and legs are, larger than
nothing and inside of the picture. Body and parts have a classifier each; the vector is both.

Source: Li et al., "Learning Deep Context-aware Features over Body and Latent Parts for Person Re-identification", CVPR
2017. Written without code of its authors: the locating network, the sizes within the part branch, and how
much the boxes' loss allows and weighs, are ours.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dare.models.aligned import sample_region
from dare.models.dare import DaRe
from dare.models.stage import Stage, WindowMaxPool, map_channels

MIDDLES = (-2 / 3, 0.0, 2 / 3)
"""How far down the parts' middles are, from -1 at the top to 1."""

NEAR, SMALLEST, INSIDE = 0.5, 0.1, 1.0
"""Squared distance that a box may be from its place, its least half size, and how far out its sides may be, squared."""

BOX_WEIGHT = 0.1

LOCATING = 32
"""Channels of the network that finds the boxes."""

POOLED = (5, 2)
"""What body and locating network see of the map: with the trunk at 160x64 a 2x2 pooling."""


def mscan(stages: Sequence[Stage], embedding_dim: int = 128) -> DaRe:
    """One exit behind the last stage, of body and parts.

    Args:
        stages: the last of them pooled by its average; the paper's are `BACKBONES["mscan"]`.
        embedding_dim: values of body and of parts: the vector has twice as many.
    """
    if embedding_dim < 1:
        raise ValueError(f"embedding_dim must be at least 1, got {embedding_dim}")
    last = stages[-1]
    both = Stage(last.body, BodyAndParts(map_channels(last), embedding_dim), 2 * embedding_dim)
    return DaRe([*stages[:-1], both], taps=[len(stages)], fusion=False, head=lambda channels: nn.Identity())


class BodyAndParts(nn.Module):
    """Map (B, C, H, W) -> (B, 2 D), the body's vector and the parts'."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            WindowMaxPool(*POOLED),
            nn.Flatten(),
            nn.Linear(channels * POOLED[0] * POOLED[1], size),
            nn.BatchNorm1d(size),
            nn.ReLU(),
        )
        self.locate = nn.Sequential(
            nn.Conv2d(channels, LOCATING, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(POOLED),
            nn.Flatten(),
            nn.Linear(LOCATING * POOLED[0] * POOLED[1], 4 * len(MIDDLES)),
        )
        placed = self.locate[-1]
        assert isinstance(placed, nn.Linear)
        nn.init.zeros_(placed.weight)
        with torch.no_grad():
            placed.bias.copy_(torch.tensor([(1.0, 1 / len(MIDDLES), 0.0, middle) for middle in MIDDLES]).flatten())
        self.part = nn.ModuleList(nn.Sequential(nn.Linear(channels, size), nn.ReLU()) for _ in MIDDLES)
        self.parts = nn.Sequential(nn.Linear(size * len(MIDDLES), size), nn.BatchNorm1d(size), nn.ReLU())

    def boxes(self, features: Tensor) -> Tensor:
        """(B, parts, 4): half width, half height, middle across and down, of a map from -1 to 1 both ways."""
        boxes: Tensor = self.locate(features).reshape(-1, len(MIDDLES), 4)
        return boxes

    def forward(self, features: Tensor) -> Tensor:
        height, width = (max(1, side // 2) for side in features.shape[2:])
        vectors = []
        for box, part in zip(self.boxes(features).unbind(1), self.part, strict=True):
            wide, high, across, down = box.unbind(1)
            none = torch.zeros_like(wide)
            affine = torch.stack([wide, none, across, none, high, down], 1).reshape(-1, 2, 3)
            vectors.append(part(sample_region(features, affine, height, width).mean((2, 3))))
        return torch.cat([self.body(features), self.parts(torch.cat(vectors, 1))], 1)


def misplaced(model: DaRe, features: Tensor) -> Tensor:
    """How far a network's boxes in a batch of last maps are beyond the limits, times `BOX_WEIGHT`."""
    tap = model.steps[-1].tap
    assert isinstance(tap, BodyAndParts)
    return BOX_WEIGHT * box_loss(tap.boxes(features.float()))


def box_loss(boxes: Tensor) -> Tensor:
    """Too far from a part's place, too small, or outside of the picture: (B, parts, 4) -> mean of their sum."""
    size, middle = boxes[..., :2], boxes[..., 2:]
    places = torch.tensor([(0.0, down) for down in MIDDLES], device=boxes.device)
    far = F.relu((middle - places).square().sum(-1) - NEAR)
    small = F.relu(SMALLEST - size).sum(-1)
    sides = torch.stack([middle - size, middle + size])
    outside = F.relu(sides.square() - INSIDE).sum((0, -1))
    return (far + small + outside).mean() / 2
