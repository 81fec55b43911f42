"""SVDNet: a linear layer before the classifier whose weight vectors are made orthogonal again and again.

Correlated weight vectors let some direction count several times in a Euclidean distance. So the layer, called
eigenlayer, is replaced from time to time by the left singular vectors of its weights, scaled by the singular values:
all distances stay what they were. The network is then trained around the fixed layer (restraint), and with it
(relaxation).

Source: Sun et al., "SVDNet for Pedestrian Retrieval", ICCV 2017, algorithm 1, and the code released with it for how
long each phase lasts and in which order the singular vectors come. Simplified: the learning rate falls once over the
whole training instead of in each phase. Behind CaffeNet the paper searches with what goes into the eigenlayer, which
is longer; here it is what comes out for every trunk.
"""

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from dare.models.dare import DaRe
from dare.models.stage import Stage

FIRST_PHASE = 3
"""How many times as long as the other phases the training before the first restraint is: 25,000 against 8,000."""


def svdnet(stages: Sequence[Stage], embedding_dim: int = 1024) -> DaRe:
    """One exit behind the last stage and the eigenlayer.

    Args:
        embedding_dim: units of the eigenlayer, at most as many as the last stage has channels.
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
    """How many equal parts a training with so many rounds of restraint and relaxation has."""
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
