"""ST-RNN: a vector for a tracklet, by attention over its frames and recurrence across its map.

The temporal attention model reads all frames at every step of an LSTM and weighs them by what it has seen so far. The
spatial recurrent model sweeps over the map from four sides, so that every place knows of its surroundings.

Source: Zhou et al., "See the Forest for the Trees: Joint Spatial and Temporal Recurrent Neural Networks for Video-based
Person Re-identification", CVPR 2017. Simplified: the paper's spatial model takes the difference of two tracklets' maps
and says how likely they show one person, so that every pair must go through it. Ours takes one tracklet's map, weighed
over time by the attention, and its result joins the temporal model's in one vector that is compared as all others are;
both learn by the triplet loss. Sweeps along diagonals are left out. Written without its authors' code; sizes are ours.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dare.models.dare import DaRe
from dare.models.stage import Stage, map_channels

FRAMES = 8
STATE = 256
"""Units of the LSTM, and of the attention."""

SWEPT = 64
"""Channels of the map that is swept over."""


def st_rnn(stages: Sequence[Stage], embedding_dim: int = 128, frames: int = FRAMES, hidden_dim: int = 1024) -> DaRe:
    """One exit behind the last stage; (B * T, 3, H, W) pictures become (B, D) vectors.

    Args:
        stages: the last of them pooled by its average.
        frames: T, pictures of a tracklet that come one behind the other.
    """
    last = stages[-1]
    joined = Stage(last.body, Tracklets(map_channels(last), frames), STATE + 4 * SWEPT)
    return DaRe([*stages[:-1], joined], embedding_dim, hidden_dim, taps=[len(stages)], fusion=False, frames=frames)


class Tracklets(nn.Module):
    """Maps of frames (B * T, C, H, W) -> (B, 512)."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.attention = TemporalAttention(channels)
        self.sweeps = SpatialSweeps(channels)

    def forward(self, features: Tensor) -> Tensor:
        if len(features) % self.frames:
            raise ValueError(
                f"expected tracklets of {self.frames} pictures each, got {len(features)} in all; "
                "dare embed and dare evaluate make them of any sample"
            )
        features = features.reshape(-1, self.frames, *features.shape[1:])
        temporal, shares = self.attention(features.mean((3, 4)))
        spatial = self.sweeps((shares[:, :, None, None, None] * features).sum(1))
        return torch.cat([temporal, spatial], 1)


class TemporalAttention(nn.Module):
    """Vectors of frames (B, T, C) -> the LSTM's mean state (B, 256), and each frame's mean share (B, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.frame = nn.Linear(channels, STATE)
        self.state = nn.Linear(STATE, STATE, bias=False)
        self.score = nn.Linear(STATE, 1, bias=False)
        self.cell = nn.LSTMCell(channels, STATE)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        frames = self.frame(vectors)
        state = cell = vectors.new_zeros(len(vectors), STATE)
        states, shares = [], []
        for _ in range(vectors.shape[1]):
            shares.append(self.score(torch.tanh(frames + self.state(state)[:, None])).squeeze(2).softmax(1))
            state, cell = self.cell((shares[-1][:, :, None] * vectors).sum(1), (state, cell))
            states.append(state)
        return torch.stack(states).mean(0), torch.stack(shares).mean(0)


class SpatialSweeps(nn.Module):
    """Map (B, C, H, W) -> (B, 256): recurrent sweeps from left, right, top and bottom, averaged over all places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduced = nn.Conv2d(channels, SWEPT, 1)
        self.sweeps = nn.ModuleList(Sweep() for _ in range(4))

    def forward(self, features: Tensor) -> Tensor:
        across = self.reduced(features).permute(0, 2, 3, 1)  # (B, H, W, C)
        down = across.transpose(1, 2)
        lines = [across, across.flip(2), down, down.flip(2)]
        return torch.cat([sweep(line).mean((1, 2)) for sweep, line in zip(self.sweeps, lines, strict=True)], 1)


class Sweep(nn.Module):
    """Along the third axis of (B, M, N, C), a rectified recurrent unit that starts as a running sum.

    Source: Le et al., "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units", 2015.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Linear(SWEPT, SWEPT)
        self.recurrent = nn.Linear(SWEPT, SWEPT, bias=False)
        nn.init.eye_(self.recurrent.weight)

    def forward(self, line: Tensor) -> Tensor:
        inputs = self.input(line).unbind(2)
        states = [F.relu(inputs[0])]
        for place in inputs[1:]:
            states.append(F.relu(place + self.recurrent(states[-1])))
        return torch.stack(states, 2)
