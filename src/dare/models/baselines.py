"""What the paper compares with (its table 1): other networks behind the interface of `DaRe`, with one exit each.

TriNet, IDE and SVDNet are a trunk with one layer more or less, and stand here; PAN, MSCAN and ST-RNN have files of
their own. Classifiers belong to training (`dare.training.objectives`), so neither checkpoints nor costs have them.
"""

from collections.abc import Callable, Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from dare.models.aligned import mscan, pan
from dare.models.dare import DaRe
from dare.models.st_rnn import st_rnn
from dare.models.stage import Stage

FIRST_PHASE = 3
"""How many times longer SVDNet trains before the first restraint than in each later phase: 25,000 against 8,000."""


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
        embedding_dim: units of the eigenlayer, at most as many as the last stage has channels.

    Source: Sun et al., "SVDNet for Pedestrian Retrieval", ICCV 2017, algorithm 1, and the code released with it for
    the length of each phase and the order of the singular vectors. Simplified: the learning rate falls once over the
    whole training instead of in each phase. Behind CaffeNet the paper searches with what goes into the eigenlayer,
    which is longer; here it is what comes out for every trunk.
    """

    def eigenlayer(channels: int) -> nn.Module:
        if not 1 <= embedding_dim <= channels:
            raise ValueError(
                f"of {channels} channels an eigenlayer has 1 to {channels} units, got {embedding_dim}; "
                "choose another embedding_dim"
            )
        return nn.Linear(channels, embedding_dim, bias=False)

    return DaRe(stages, taps=[len(stages)], fusion=False, head=eigenlayer)


def phases(rounds: int) -> int:
    """How many equal parts a training with this many rounds of restraint and relaxation has."""
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
    cosines = nn.functional.normalize(old, dim=1) @ vectors.T
    rows, columns = linear_sum_assignment(cosines.abs().numpy(), maximize=True)
    placed: Tensor = new[columns] * cosines[rows, columns].sign()[:, None]
    return placed.to(weight)


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
"""Those whose vector comes from a head as DaRe's; their builders take `hidden_dim`."""

TRACKLETS = ("st-rnn",)
"""Those that make one vector of several pictures; their builders take `frames`, how many."""

CLASSIFIED: dict[str, tuple[str, ...]] = {
    "ide": ("identity",),
    "svdnet": ("identity",),
    "pan": ("base", "aligned"),
    "mscan": ("body", "parts"),
}
"""Those that learn to classify the training people -> the vector's equal parts, each with a classifier.
The others learn by triplets."""
