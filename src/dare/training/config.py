"""Every setting of a training, with its bounds."""

import re
from collections.abc import Sequence
from dataclasses import field, replace
from itertools import accumulate
from typing import Annotated, Literal

import numpy as np
import pydantic
from pydantic import Field

from dare.images.preparation import Preparation
from dare.models.baselines import CLASSIFIED, phases
from dare.models.checkpoints import DARE, Architecture
from dare.retrieval.distances import Space
from dare.training.pictures import Augmentation

MOST = 10**9
Count = Annotated[int, Field(ge=1, le=MOST)]
Natural = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[float, Field(gt=0)]
Chance = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(ge=0)]

Term = Literal["triplet", "identity", "teacher", "space"]
Sizes = tuple[tuple[Count, Count, Count], ...]
"""Height, width and number of iterations, one after the other."""


@pydantic.dataclasses.dataclass(
    frozen=True, slots=True, config=pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
)
class TrainConfig:
    """Settings of a training; the defaults are the paper's, where it differs the released code's.

    Attributes:
        architecture: backbone, taps, fusion, sizes of the heads.
        weights: what the trunk starts from: "imagenet", a file's path, or None for random.
        preparation: input size, mean and standard deviation.
        augmentation: how crops are taken, random erasing and colour jitter.
        people, images: P and K of a batch; K counts tracklets where the network takes these.
        iterations: batches to train on.
        sizes: of the pictures as the training goes on: height, width and number of iterations. The last size is the
            network's; empty trains on that alone. Most is learnt from small pictures, at a quarter of the price.
        decay_start: iteration at which the learning rate starts to fall (t0 of equation 4).
        final_rate: what the rate has fallen to at the end, as a share of the first (0.001 in equation 4).
        learning_rate: of Adam.
        warm_up: iterations over which the rate rises from zero at the start.
        beta1, beta1_late, beta2: of Adam; beta1 changes at `decay_start`.
        weight_decay: of Adam (in the released code, not in the paper).
        fusion_rate: learning rate of the fusion weights as a share of the others'.
        trunk_rate: the same of the stages' bodies, which may start from weights that should not be lost.
        margin: added before the softplus of triplet losses.
        deep_supervision: every term on every stage; False leaves only the fused vector's.
        terms: names and weights: what a DaRe is trained for is their sum.
        space: "shared" declares that all exits' vectors may be compared with those of the last one, which a teacher or
            the term `space` brings about; "own", that each compares with those of its own exit.
        generated_images: pictures in each batch that show nobody, which a classifier should find like anybody (LSRO).
        rounds: of restraint and relaxation, in `svdnet`; 0 trains its eigenlayer as any other layer.
        dropout: share of a vector's values that a classifier of the training people does not see, in baselines that
            have one.
        ease_in: share of the iterations over which mining goes from the mean friend and stranger to the
            hardest. From random weights plain batch-hard can collapse; a share such as 0.3 makes that less likely.
        average: momentum of a running average of the weights, which is then what is kept; 0 is none.
        precision: of the trunk: "fp32", "bf16", or "auto": what is faster, on CPUs as measured when the run starts.
        seed: same seed, same run (on one machine and number of threads).
        workers: threads that prepare batches ahead; they change nothing but speed.
        save_every: iterations between checkpoints.
        log_every: iterations between lines of metrics.
    """

    architecture: Architecture = field(default_factory=Architecture)
    weights: str | None = "imagenet"
    preparation: Preparation = field(default_factory=Preparation)
    augmentation: Augmentation = field(default_factory=Augmentation)
    people: Annotated[int, Field(ge=2, le=MOST)] = 18
    images: Count = 4
    iterations: Count = 60_000
    sizes: Sizes = ()
    decay_start: Natural = 30_000
    final_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    learning_rate: Positive = 3e-4
    warm_up: Natural = 0
    beta1: Momentum = 0.9
    beta1_late: Momentum = 0.5
    beta2: Momentum = 0.999
    weight_decay: Factor = 1e-4
    fusion_rate: Factor = 1.0
    trunk_rate: Factor = 1.0
    margin: float = 0.0
    deep_supervision: bool = True
    terms: Annotated[tuple[tuple[Term, Positive], ...], Field(min_length=1)] = (("triplet", 1.0),)
    space: Space = "own"
    dropout: Momentum = 0.0
    generated_images: Natural = 0
    rounds: Natural = 0
    ease_in: Chance = 0.0
    average: Momentum = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    workers: Natural = 0
    save_every: Count = 500
    log_every: Count = 20

    def __post_init__(self) -> None:
        """What no single bound can say."""
        self._check_sizes()
        self._check_terms()
        network, taught = self.architecture.network, "teacher" in dict(self.terms)
        if not (self.deep_supervision or (self.architecture.fusion and network == DARE)):
            raise ValueError("without deep supervision and without fusion there is nothing to train on")
        if (self.dropout or (self.generated_images and not taught)) and network not in CLASSIFIED:
            raise ValueError(
                f"dropout and pictures without a person are for networks with a classifier ({', '.join(CLASSIFIED)}), "
                f"the latter also for the term teacher; got {self.dropout} and {self.generated_images} in {network}"
            )
        if self.rounds and (network != "svdnet" or self.average or phases(self.rounds) > self.iterations):
            raise ValueError(
                f"rounds are for svdnet, without an average of the weights (set average to 0), and {self.rounds} of "
                f"them need at least {phases(self.rounds)} iterations; "
                f"got {network}, {self.average} and {self.iterations}"
            )

    def _check_terms(self) -> None:
        names = [name for name, _ in self.terms]
        if len(set(names)) < len(names):
            raise ValueError(f"expected each term once, got {', '.join(names)}")
        if self.architecture.network != DARE and self.terms != (("triplet", 1.0),):
            raise ValueError(f"{self.architecture.network} is trained as its paper says; leave terms out")
        if self.space == "shared" and not {"teacher", "space"} & set(names):
            raise ValueError("exits share a space only by the term teacher or space; add one, or set space to own")

    def _check_sizes(self) -> None:
        if not self.sizes:
            return
        if (total := sum(count for *_, count in self.sizes)) != self.iterations:
            raise ValueError(f"the sizes' iterations must add up to {self.iterations}, got {total}; change one of them")
        if self.sizes[-1][:2] != (self.preparation.height, self.preparation.width):
            raise ValueError(
                f"the last size is the network's, {self.preparation.size}, "
                f"got {self.sizes[-1][0]}x{self.sizes[-1][1]}; change one of them"
            )
        assert self.stretches  # every size is one that a network can take

    @property
    def stretches(self) -> tuple[tuple[Preparation, int], ...]:
        """The parts of the training: of what size its pictures are, and the iteration before which it ends."""
        if not self.sizes:
            return ((self.preparation, self.iterations),)
        stops = accumulate(count for *_, count in self.sizes)
        return tuple(
            (replace(self.preparation, height=height, width=width), stop)
            for (height, width, _), stop in zip(self.sizes, stops, strict=True)
        )

    def seed_of(self, *numbers: int) -> int:
        """What torch draws from at a place of the training, such as an iteration."""
        return int(np.random.SeedSequence([self.seed, *numbers]).generate_state(1, np.uint64)[0])

    def rate(self, iteration: int) -> float:
        """Learning rate at an iteration, counted from 0 (equation 4 of the paper, after the warm-up)."""
        decay = max(0.0, iteration - self.decay_start) / max(1, self.iterations - self.decay_start)
        warm = min(1.0, (iteration + 1) / self.warm_up) if self.warm_up else 1.0
        return self.learning_rate * warm * float(self.final_rate**decay)

    def momentum(self, iteration: int) -> float:
        """Adam's beta1 at an iteration; at `decay_start` itself the later one, as in the released code."""
        return self.beta1 if iteration < self.decay_start else self.beta1_late

    def hardness(self, iteration: int) -> float:
        """How hard mining is at an iteration, from 0 to 1."""
        easing = self.ease_in * self.iterations
        return min(1.0, iteration / easing) if easing else 1.0


def parse_sizes(text: str) -> Sizes:
    """`128x64:2500,256x128:700` as height, width and iterations; "none" means no sizes."""
    if text == "none":
        return ()
    found = [re.fullmatch(r"(\d+)x(\d+):(\d+)", part.strip()) for part in text.split(",")]
    if not all(found):
        raise ValueError(
            f"expected sizes as height x width : iterations, such as 128x64:2500,256x128:700, or none; got {text!r}"
        )
    return tuple((int(match[1]), int(match[2]), int(match[3])) for match in found if match)


def rescaled(sizes: Sequence[tuple[int, int, int]], iterations: int) -> Sizes:
    """The same sizes in proportion over other iterations, at least one each."""
    if iterations < len(sizes):
        raise ValueError(f"{len(sizes)} sizes need at least as many iterations, got {iterations}; give other sizes")
    total, done, stop, parts = sum(count for *_, count in sizes), 0, 0, []
    for number, (height, width, count) in enumerate(sizes, start=1):
        stop += count
        until = max(done + 1, min(round(stop * iterations / total), iterations - (len(sizes) - number)))
        parts.append((height, width, until - done))
        done = until
    return tuple(parts)


def parse_terms(text: str) -> tuple[tuple[str, float], ...]:
    """`triplet=1,teacher=6` as names and weights; a name alone weighs 1."""
    parts = [part.strip().partition("=") for part in text.split(",")]
    try:
        return tuple((name, float(weight) if sign else 1.0) for name, sign, weight in parts)
    except ValueError:
        raise ValueError(f"expected terms and their weights, such as triplet=1,teacher=6, got {text!r}") from None
