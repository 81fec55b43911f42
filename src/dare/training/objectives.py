"""What a training minimises: an objective stands beside the network and turns batches into losses.

What it learns of its own, such as classifiers, is saved with the state of the training and is no part of the network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dare.datasets.sample import UNKNOWN
from dare.images.reading import Preparation
from dare.models.aligned import misplaced
from dare.models.baselines import CLASSIFIED, restrain
from dare.models.dare import DaRe
from dare.training.config import TrainConfig
from dare.training.losses import (
    UNIT_SCALE,
    Embedded,
    Identity,
    Space,
    Teacher,
    Triplet,
    identity_loss,
    median_distance,
    pairwise_distances,
)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a network is shown at once; pictures without labels come last.

    Attributes:
        images: (B, 3, H, W); of tracklets, all frames one behind the other.
        people: (B,), of tracklets one each; `UNKNOWN` in pictures without labels.
        targets: (B, D), a teacher's vectors, or None without one.
    """

    images: Tensor
    people: Tensor
    targets: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Losses:
    """What a batch costs.

    Attributes:
        total: what is minimised.
        each: (L,), one for each of the objective's names; `total` need not have all of them.
        scales: (E,), the median distance of two pictures in the batch, for each of the network's embeddings.
    """

    total: Tensor
    each: Tensor
    scales: Tensor


class Terms(nn.Module):
    """A weighted sum of named terms, each on every embedding.

    Args:
        names: of the network's embeddings.
        terms: name -> a module that gives a loss for each embedding.
        weights: of the terms, by their names.
        deep_supervision: as in `TrainConfig`.

    Attributes:
        names: one per loss; those of triplets are called as their embeddings.
    """

    def __init__(
        self, names: Sequence[str], terms: Mapping[str, nn.Module], weights: Mapping[str, float], deep_supervision: bool
    ) -> None:
        super().__init__()
        self.names = tuple(name if term == "triplet" else f"{term} {name}" for term in terms for name in names)
        self.terms, self._weights = nn.ModuleDict(terms), weights
        self._supervised = slice(None) if deep_supervision else slice(-1, None)

    def before(self, model: DaRe, iteration: int) -> None:
        """Asked before each iteration, counted from 0: what changes in the network by itself. Here nothing does."""

    def forward(self, model: DaRe, batch: Batch, iteration: int) -> Losses:
        """Losses of a batch; of tracklets, all frames stand one behind the other."""
        embeddings = model(batch.images).all()
        with torch.autocast(batch.images.device.type, enabled=False):
            vectors = embeddings.float()
            distances = pairwise_distances(vectors)
            embedded = Embedded(vectors, distances, batch.people, batch.targets, iteration)
            each = {name: term(embedded) for name, term in self.terms.items()}
            weighed = [self._weights[name] * losses[self._supervised].sum() for name, losses in each.items()]
            return Losses(torch.stack(weighed).sum(), torch.cat([*each.values()]), median_distance(distances.detach()))


class Identities(nn.Module):
    """Softmax classification of the training people by a network's last vector; attributes as of `Terms`.

    Args:
        names: the vector is cut into as many parts of one size, and each part has a classifier and a loss.
        dimensions: size of the vector.
        people: (K,), labels, sorted; `UNKNOWN` is nobody of them.
        dropout: share of the vector's values that the classifier does not see.
        schedule: what changes in the network before an iteration.
        raw: classify what the last tap takes, (B, D, 1, 1), instead of the vector that it makes of that.
        constraints: name -> a further loss, of the last feature map.
    """

    def __init__(
        self,
        names: Sequence[str],
        dimensions: int,
        people: NDArray[np.int64],
        dropout: float,
        schedule: Callable[[DaRe, int], None] | None = None,
        *,
        raw: bool = False,
        constraints: Mapping[str, Callable[[DaRe, Tensor], Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self._constraints = dict(constraints or {})
        self.names = (*names, *self._constraints)
        self._dropout, self._schedule, self._raw = dropout, schedule, raw
        size = dimensions // len(names)
        self.classifiers = nn.ModuleList(nn.Linear(size, len(people)) for _ in names)
        self.register_buffer("people", torch.from_numpy(people))

    def before(self, model: DaRe, iteration: int) -> None:
        """As of `Terms`."""
        if self._schedule:
            self._schedule(model, iteration)

    def forward(self, model: DaRe, batch: Batch, iteration: int) -> Losses:
        """As of `Terms`."""
        walk = model.walk(batch.images)
        embeddings = walk.finish().all()
        vectors = walk.features.flatten(1) if self._raw else embeddings[-1]
        with torch.autocast(batch.images.device.type, enabled=False):
            each = self._classified(F.dropout(vectors.float(), self._dropout), batch.people)
            each += [constraint(model, walk.features) for constraint in self._constraints.values()]
            losses = torch.stack(each)
            return Losses(losses.sum(), losses, median_distance(pairwise_distances(embeddings.detach())))

    def _classified(self, vectors: Tensor, people: Tensor) -> list[Tensor]:
        labels = self.get_buffer("people")
        classes = torch.where(people == UNKNOWN, -1, torch.searchsorted(labels, people))
        parts = vectors.chunk(len(self.classifiers), 1)
        return [identity_loss(classify(part), classes) for classify, part in zip(self.classifiers, parts, strict=True)]


Objective = Terms | Identities


def build_objective(config: TrainConfig, model: DaRe, people: NDArray[np.int64]) -> Objective:
    """What the configured network is trained for; what it learns of its own starts with the configured seed.

    Args:
        people: of the training pictures.
    """
    network, known = config.architecture.network, np.unique(people[people != UNKNOWN])
    size = _dimensions(model, config.preparation)
    if network not in CLASSIFIED:
        names = model.embedding_names
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            terms = _build_terms(config, len(names), size, known)
        return Terms(names, terms, dict(config.terms), config.deep_supervision)
    schedule = partial(restrain, iterations=config.iterations, rounds=config.rounds) if config.rounds else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Identities(
            CLASSIFIED[network],
            size,
            known,
            config.dropout,
            schedule,
            raw=network == "pan",  # of vectors of length 1 a softmax over many people would stay nearly even
            constraints={"boxes": misplaced} if network == "mscan" else None,
        )


def _build_terms(
    config: TrainConfig, embeddings: int, dimensions: int, people: NDArray[np.int64]
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


def _dimensions(model: DaRe, preparation: Preparation) -> int:
    """Size of the last vector, as a black picture shows."""
    model.eval()
    with torch.no_grad():
        *_, vectors = model.exits(torch.zeros(model.frames, 3, preparation.height, preparation.width))
    model.train()
    return vectors.shape[1]
