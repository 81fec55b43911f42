"""What the paper compares with (its table 1): other networks behind the interface of `DaRe`, with one exit each.

PAN and MSCAN, which cut regions out of their maps, have a file of their own (`dare.models.aligned`). Classifiers belong
to training (`dare.training.losses`), so neither checkpoints nor costs have them.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from dare.models.aligned import mscan, pan
from dare.models.dare import DaRe
from dare.models.stage import Stage, map_channels

FIRST_PHASE = 3
"""How many times longer SVDNet trains before the first restraint than in each later phase: 25,000 against 8,000."""

STATE = 256
"""Units of ST-RNN's LSTM, and of its attention."""

SWEPT = 64
"""Channels of the map that ST-RNN sweeps over."""


def trinet(stages: Sequence[Stage], embedding_dim: int = 128, hidden_dim: int = 1024) -> DaRe:
    """One vector behind the last stage, trained with the triplet loss; `DaRe(stages, taps=[4], fusion=False)`.

    Source: Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017.
    """
    return DaRe(stages, embedding_dim, hidden_dim, taps=[len(stages)], fusion=False)


def ide(stages: Sequence[Stage], embedding_dim: int = 0) -> DaRe:
    """One exit behind the last stage, trained to tell the training people apart; what it classifies by is the vector.

    Args:
        embedding_dim: 0 takes the pooled features as they are, IDE(R)'s 2048. Others come from a linear layer and a
            ReLU: IDE(C)'s 1024 behind the convolutions of CaffeNet.

    Source: Zheng et al., "Person Re-identification: Past, Present and Future", 2016. Simplified: trained with Adam on
    batches of people, as everything here, instead of SGD on shuffled pictures.
    """

    def head(channels: int) -> nn.Module:
        return nn.Sequential(nn.Linear(channels, embedding_dim), nn.ReLU()) if embedding_dim else nn.Identity()

    return DaRe(stages, taps=[len(stages)], fusion=False, head=head)


def svdnet(stages: Sequence[Stage], embedding_dim: int = 1024) -> DaRe:
    """One exit behind the last stage and the eigenlayer, a linear layer whose weight vectors are kept orthogonal.

    Correlated weight vectors let some directions count several times in a Euclidean distance. So the eigenlayer is
    replaced from time to time by the left singular vectors of its weights, scaled by the singular values, which keeps
    all distances. The network is then trained around the fixed layer (restraint), and with it (relaxation).

    Args:
        embedding_dim: units of the eigenlayer, at most the number of the last stage's channels.

    Source: Sun et al., "SVDNet for Pedestrian Retrieval", ICCV 2017, algorithm 1, and the code released with it for
    the length of each phase and the order of the singular vectors. Simplified: the learning rate falls once over the
    whole training instead of in each phase. Behind CaffeNet the paper searches with what goes into the eigenlayer,
    which is longer; here it is what comes out for every trunk.
    """

    def eigenlayer(channels: int) -> nn.Module:
        if not 1 <= embedding_dim <= channels:
            raise ValueError(
                f"an eigenlayer on {channels} channels has 1 to {channels} units, got {embedding_dim}; "
                "choose another embedding_dim"
            )
        return nn.Linear(channels, embedding_dim, bias=False)

    return DaRe(stages, taps=[len(stages)], fusion=False, head=eigenlayer)


def phases(rounds: int) -> int:
    """Number of equal parts of a training with rounds of restraint and relaxation."""
    return FIRST_PHASE + 2 * rounds


def restrain(model: DaRe, iteration: int, iterations: int, rounds: int) -> None:
    """Bring the eigenlayer into the state of an iteration, counted from 0; a function of its number alone.

    At the first iteration of a restraint it is decorrelated. It learns except in restraints.
    """
    eigenlayer = model.steps[-1].head
    assert isinstance(eigenlayer, nn.Linear)
    part, before = (number * phases(rounds) // iterations for number in (iteration, iteration - 1))
    restraint = part >= FIRST_PHASE and (part - FIRST_PHASE) % 2 == 0
    eigenlayer.weight.requires_grad_(not restraint)
    if restraint and part != before:
        with torch.no_grad():
            eigenlayer.weight.copy_(decorrelated(eigenlayer.weight))


def decorrelated(weight: Tensor) -> Tensor:
    """Orthogonal weight vectors that keep every distance between outputs: W = U S V^T becomes U S.

    Each takes the place and the sign of the old one that it is closest to, all in all, so that the classifier behind
    them still finds its way.

    Args:
        weight: (D, C), a weight vector per row.
    """
    old = weight.cpu().double()  # in this order: not every device has doubles
    _, values, vectors = torch.linalg.svd(old, full_matrices=False)
    new = values[:, None] * vectors
    cosines = F.normalize(old, dim=1) @ vectors.T
    rows, columns = linear_sum_assignment(cosines.abs().numpy(), maximize=True)
    placed: Tensor = new[columns] * cosines[rows, columns].sign()[:, None]
    return placed.to(weight)


def st_rnn(stages: Sequence[Stage], embedding_dim: int = 128, frames: int = 8, hidden_dim: int = 1024) -> DaRe:
    """A vector for a tracklet, by attention over its frames and recurrence across its map; one exit.

    The temporal attention model reads all frames at every step of an LSTM and weighs them by what it has seen so far.
    The spatial recurrent model sweeps over the map from four sides, so that every place knows of its surroundings.

    Args:
        stages: the last of them pooled by its average.
        frames: T, pictures of a tracklet that come one behind the other: (B * T, 3, H, W) become (B, D).

    Source: Zhou et al., "See the Forest for the Trees: Joint Spatial and Temporal Recurrent Neural Networks for
    Video-based Person Re-identification", CVPR 2017. Simplified: the paper's spatial model takes the difference of two
    tracklets' maps, so that every pair must go through it. Ours takes one tracklet's map, weighed over time by the
    attention, and its result joins the temporal model's in one vector, which learns by the triplet loss. Sweeps along
    diagonals are left out. Written without its authors' code; sizes are ours.
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


BASELINES: dict[str, Callable[..., DaRe]] = {
    "trinet": trinet,
    "ide": ide,
    "svdnet": svdnet,
    "pan": pan,
    "mscan": mscan,
    "st-rnn": st_rnn,
}
"""Name -> builder, which takes the stages of a backbone and `embedding_dim`."""

HEADED = ("trinet", "st-rnn")
"""Those whose vector comes from a head like DaRe's; their builders take `hidden_dim`."""

TRACKLETS = ("st-rnn",)
"""Those that make one vector from several pictures; their builders take `frames`, the number of them."""

CLASSIFIED: dict[str, tuple[str, ...]] = {
    "ide": ("identity",),
    "svdnet": ("identity",),
    "pan": ("base", "aligned"),
    "mscan": ("body", "parts"),
}
"""Those that learn to classify the training people -> the vector's equal parts, each with a classifier.
The others learn by triplets."""
