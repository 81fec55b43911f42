"""The terms that a network's objective may be a sum of, each on every embedding."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dare.datasets.sample import UNKNOWN
from dare.training.losses import triplet_losses

if TYPE_CHECKING:
    from dare.training.config import TrainConfig

UNIT_SCALE = 8.0
"""Vectors of length 1 have this length in triplets: the softplus of distances under 2 is nearly flat."""

SMOOTHING = 0.1
"""Share of an identity's label that goes to all of them alike (Szegedy et al. 2016; Luo et al. 2019)."""

SIMILARITIES = 2.0
"""Weight of the similarities within a batch beside those to the teacher's own vectors."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A batch as the terms see it; pictures without labels come last.

    Attributes:
        vectors: (E, B, D), the network's embeddings in float32.
        distances: (E, B, B), Euclidean.
        people: (B,); `UNKNOWN` in pictures without labels.
        targets: (B, D), a teacher's vectors of length 1, or None without one.
        iteration: counted from 0.
    """

    vectors: Tensor
    distances: Tensor
    people: Tensor
    targets: Tensor | None
    iteration: int

    @property
    def labelled(self) -> int:
        """How many of the pictures have labels."""
        return int((self.people != UNKNOWN).sum())


class Triplet(nn.Module):
    """The paper's: batch-hard with a soft margin, equation 2.

    Args:
        scale: what distances are multiplied by.
        margin, hardness: as in `TrainConfig`.
    """

    def __init__(self, scale: float, margin: float, hardness: Callable[[int], float]) -> None:
        super().__init__()
        self._scale, self._margin, self._hardness = scale, margin, hardness

    def forward(self, batch: Embedded) -> Tensor:
        """(E,), the mean over pictures with labels."""
        known = batch.labelled
        distances = batch.distances[:, :known, :known]
        if self._scale != 1:
            distances = self._scale * distances
        return triplet_losses(distances, batch.people[:known], self._margin, self._hardness(batch.iteration))


class Identity(nn.Module):
    """Cross-entropy of telling the training people apart, with label smoothing, behind a batch norm.

    Args:
        embeddings: E.
        dimensions: D.
        people: (K,), sorted.

    Source: Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-Identification", 2019.
    """

    def __init__(self, embeddings: int, dimensions: int, people: NDArray[np.int64]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(dimensions), nn.Linear(dimensions, len(people), bias=False))
            for _ in range(embeddings)
        )
        self.register_buffer("people", torch.from_numpy(people))

    def forward(self, batch: Embedded) -> Tensor:
        """(E,), the mean over pictures with labels."""
        known = batch.labelled
        classes = torch.searchsorted(self.get_buffer("people"), batch.people[:known])
        scored = zip(self.classifiers, batch.vectors[:, :known], strict=True)
        return torch.stack([F.cross_entropy(c(v), classes, label_smoothing=SMOOTHING) for c, v in scored])


class Teacher(nn.Module):
    """How far each vector is from the teacher's, and the batch's cosines from the teacher's.

    Source: Romero et al., "FitNets", 2015 (vectors); Tung and Mori, "Similarity-Preserving Knowledge Distillation",
    ICCV 2019 (similarities).
    """

    def forward(self, batch: Embedded) -> Tensor:
        """(E,), over all pictures."""
        assert batch.targets is not None
        vectors = F.normalize(batch.vectors, dim=2)
        away = 1 - (vectors * batch.targets).sum(2).mean(1)
        wanted = batch.targets @ batch.targets.T
        return away + SIMILARITIES * (vectors @ vectors.transpose(1, 2) - wanted).square().mean((1, 2))


class Space(nn.Module):
    """How far each vector is from the same picture's last one, which is not pulled."""

    def forward(self, batch: Embedded) -> Tensor:
        """(E,), over all pictures; 0 at the last."""
        vectors = F.normalize(batch.vectors, dim=2)
        return 1 - (vectors * vectors[-1].detach()).sum(2).mean(1)


TERMS = ("triplet", "identity", "teacher", "space")
"""Names of terms."""


def build_terms(
    config: "TrainConfig", embeddings: int, dimensions: int, people: NDArray[np.int64]
) -> Mapping[str, nn.Module]:
    """The configured terms by name.

    Args:
        embeddings, dimensions: E and D.
        people: (K,), the training people, sorted.
    """
    scale = UNIT_SCALE if config.architecture.unit else 1.0
    builders: dict[str, Callable[[], nn.Module]] = {
        "triplet": lambda: Triplet(scale, config.margin, config.hardness),
        "identity": lambda: Identity(embeddings, dimensions, people),
        "teacher": Teacher,
        "space": Space,
    }
    return {name: builders[name]() for name, _ in config.terms}
