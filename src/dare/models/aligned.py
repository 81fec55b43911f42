"""PAN and MSCAN: networks that look again at a region of the map, whose place is learnt (Jaderberg et al., "Spatial
Transformer Networks", 2015).

PAN, the Pedestrian Alignment Network, has a second branch that sees the person cut out anew. The base branch is a
classifier of people. From its map after the third stage a grid network reads an affine transform, by which the map
after the first stage is cut out again; the aligned branch goes on from there with stages of its own. The vector is
both branches', each scaled to length 1.

Source: Zheng, Zheng and Yang, "Pedestrian Alignment Network for Large-scale Person Re-identification", 2017, and the
code released with it, where the base branch is trained first and then held still. Simplified: both branches are
trained at once, and the aligned branch and the grid network send no gradient into the base branch, so that it becomes
what it would be alone.

MSCAN sees the whole body and three parts of it. For each part a small network finds a box, which is cut out of the
trunk's last map. Boxes drift without guidance, so a loss keeps them near head, torso and legs, above a least size and
inside the picture. Body and parts have a classifier each; the vector is both.

Source: Li et al., "Learning Deep Context-aware Features over Body and Latent Parts for Person Re-identification", CVPR
2017. Written without its authors' code: the locating network, the sizes within the part branch, and how much the
boxes' loss allows and weighs, are ours.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dare.models.dare import DaRe
from dare.models.stage import Stage, WindowMaxPool, map_channels

START = (0.8, 0.0, 0.0, 0.0, 0.8, 0.0)
"""The transform before training: four fifths of the picture, around its middle."""

PACE = 0.1
"""How strongly the grid network's output moves the transform: it must learn more slowly than the branches."""

GRID_UNITS = 128

MIDDLES = (-2 / 3, 0.0, 2 / 3)
"""How far down the parts' middles are, from -1 at the top to 1."""

NEAR, SMALLEST, INSIDE = 0.5, 0.1, 1.0
"""Squared distance that a box may be from its place, its least half size, and how far out its sides may be, squared."""

BOX_WEIGHT = 0.1

LOCATING = 32
"""Channels of the network that finds the boxes."""

POOLED = (5, 2)
"""What body and locating network see of the map: with the trunk at 160x64 a 2x2 pooling."""


def pan(stages: Sequence[Stage], embedding_dim: int = 0) -> DaRe:
    """One exit behind both branches, whose vector is twice as long as what the last stage pools.

    Args:
        stages: at least three, of which the first is shared.
        embedding_dim: only 0: the vector is what the branches pool.
    """
    if embedding_dim or len(stages) < 3:
        raise ValueError(
            f"pan takes three stages or more and embedding_dim=0, as its vector is what its branches pool; "
            f"got {len(stages)} and {embedding_dim}"
        )
    both = Stage(Branches(stages[1:]), UnitHalves(), 2 * stages[-1].channels)
    return DaRe([stages[0], both], taps=[2], fusion=False, head=lambda channels: nn.Identity())


class Branches(nn.Module):
    """Map after the first stage -> (B, 2 C, 1, 1): what the base and the aligned branch pool, in this order."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        last = stages[-1]
        self.grid = Grid(copy.deepcopy(last.body), copy.deepcopy(last.tap), last.channels)
        self.aligned = nn.Sequential(*(copy.deepcopy(stage.body) for stage in stages), copy.deepcopy(last.tap))
        self.base = nn.Sequential(*(stage.body for stage in stages[:-1]))
        self.last = nn.Sequential(last.body, last.tap)

    def forward(self, features: Tensor) -> Tensor:
        middle = self.base(features)
        region = sample_region(features.detach(), self.grid(middle.detach()), features.shape[2], features.shape[3])
        return torch.cat([self.last(middle), self.aligned(region)], 1)[:, :, None, None]


class Grid(nn.Module):
    """Map before the last stage -> affine transform (B, 2, 3), by a last stage of its own; `START` at first."""

    def __init__(self, body: nn.Module, tap: nn.Module, channels: int) -> None:
        super().__init__()
        self.body, self.tap = body, tap
        self.reduced = nn.Linear(channels, GRID_UNITS)
        self.moved = nn.Linear(GRID_UNITS, len(START))
        nn.init.zeros_(self.moved.weight)
        nn.init.zeros_(self.moved.bias)
        self.register_buffer("start", torch.tensor(START))

    def forward(self, features: Tensor) -> Tensor:
        pooled = self.tap(self.body(features))
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 is too coarse for places
            moved: Tensor = self.get_buffer("start") + PACE * self.moved(self.reduced(pooled.float()))
            return moved.reshape(-1, 2, 3)


class UnitHalves(nn.Module):
    """(B, 2 C, 1, 1) -> (B, 2 C), each half scaled to length 1."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([F.normalize(half) for half in features.flatten(1).chunk(2, 1)], 1)


def mscan(stages: Sequence[Stage], embedding_dim: int = 128) -> DaRe:
    """One exit behind the last stage, of body and parts.

    Args:
        stages: the last of them pooled by its average; the paper's are `BACKBONES["mscan"]`.
        embedding_dim: values of body and of parts; the vector has twice that number.
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


def sample_region(features: Tensor, affine: Tensor, height: int, width: int) -> Tensor:
    """What lies in a region, by bilinear interpolation in float32; zero outside the map.

    Args:
        features: (B, C, H, W).
        affine: (B, 2, 3), from places in the region to places in the map, both from -1 to 1, x before y.
        height, width: of the result, (B, C, height, width).
    """
    x, y = (_middles(count, features.device) for count in (width, height))
    affine = affine.float()[..., None, None]
    # Without a matrix product, which autocast would do in bfloat16: that is too coarse for places.
    places = affine[:, :, 0] * x + affine[:, :, 1] * y[:, None] + affine[:, :, 2]
    return F.grid_sample(features.float(), places.permute(0, 2, 3, 1), align_corners=False)


def _middles(count: int, device: torch.device) -> Tensor:
    """The middles of equal cells from -1 to 1."""
    return (2 * torch.arange(count, device=device) + 1) / count - 1
