"""PAN, the Pedestrian Alignment Network: a second branch sees the person cut out anew, as the first branch suggests.

The base branch is a classifier of people. From its map after the third stage a grid network reads an affine transform,
by which the map after the first stage is cut out again; the aligned branch goes on from there with stages of its own.
The vector is both branches', each scaled to length 1.

Source: Zheng, Zheng and Yang, "Pedestrian Alignment Network for Large-scale Person Re-identification", 2017, and the
code released with it. There the base branch is trained first and then held still. Simplified: both branches are trained
at once, and the aligned branch and the grid network send no gradient into the base branch, so that it becomes what it
would alone.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dare.models.aligned import sample_region
from dare.models.dare import DaRe
from dare.models.stage import Stage

START = (0.8, 0.0, 0.0, 0.0, 0.8, 0.0)
"""The transform before training: four fifths of the picture, around its middle."""

PACE = 0.1
"""How strongly the grid network's output moves the transform: it must learn more slowly than the branches."""

GRID_UNITS = 128


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
