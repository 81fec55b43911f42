"""Every setting of a training, and named sets of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from dare.images.reading import Preparation
from dare.models.backbones import normalisation
from dare.models.baselines import CLASSIFIED, HEADED, phases
from dare.models.checkpoints import DARE, Architecture, load_checkpoint
from dare.retrieval.space import Space
from dare.training.augment import Augmentation
from dare.training.sizes import Sizes, Stretch, check_sizes, parse_sizes, rescaled, stretches
from dare.training.terms import TERMS


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of a training; the defaults are the paper's, where it differs the released code's.

    Attributes:
        architecture: backbone, taps, fusion, sizes of the heads.
        weights: what the trunk starts from: "imagenet", a file's path, or None for random.
        preparation: input size, mean and standard deviation.
        augmentation: how crops are taken, random erasing and colour jitter.
        people, images: P and K of a batch; K counts tracklets where the network takes these.
        iterations: batches to train on.
        sizes: of the pictures as the training goes on: height, width and for how many iterations. The last is the
            network's; empty trains on that alone.
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
        terms: names in `TERMS` and their weights: what a DaRe is trained for is their sum.
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
    people: int = 18
    images: int = 4
    iterations: int = 60_000
    sizes: Sizes = ()
    decay_start: int = 30_000
    final_rate: float = 0.001
    learning_rate: float = 3e-4
    warm_up: int = 0
    beta1: float = 0.9
    beta1_late: float = 0.5
    beta2: float = 0.999
    weight_decay: float = 1e-4
    fusion_rate: float = 1.0
    trunk_rate: float = 1.0
    margin: float = 0.0
    deep_supervision: bool = True
    terms: tuple[tuple[str, float], ...] = (("triplet", 1.0),)
    space: Space = "own"
    dropout: float = 0.0
    generated_images: int = 0
    rounds: int = 0
    ease_in: float = 0.0
    average: float = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0
    workers: int = 0
    save_every: int = 500
    log_every: int = 20

    def __post_init__(self) -> None:
        if min(self.iterations, self.save_every, self.log_every, self.images) < 1 or self.people < 2:
            raise ValueError("iterations, images, save_every and log_every must be at least 1, people at least 2")
        if min(self.workers, self.seed, self.warm_up, self.decay_start, self.weight_decay, self.rounds) < 0:
            raise ValueError("workers, seed, warm_up, decay_start, weight_decay and rounds must be at least 0")
        if not all(0 <= beta < 1 for beta in (self.beta1, self.beta1_late, self.beta2)):
            raise ValueError(f"betas must be in 0..1, got {self.beta1}, {self.beta1_late} and {self.beta2}")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f"precision must be auto, fp32 or bf16, got {self.precision!r}")
        if not self.learning_rate > 0 or not 0 < self.final_rate <= 1:
            raise ValueError(
                f"learning_rate must be positive and final_rate in 0..1, got {self.learning_rate} and {self.final_rate}"
            )
        if min(self.fusion_rate, self.trunk_rate) < 0 or not math.isfinite(self.margin):
            raise ValueError(
                f"fusion_rate and trunk_rate must be at least 0 and margin finite, got {self.fusion_rate}, "
                f"{self.trunk_rate} and {self.margin}"
            )
        if not (0 <= self.ease_in <= 1 and 0 <= self.average < 1):
            raise ValueError(f"ease_in and average are shares, got {self.ease_in} and {self.average}")
        check_sizes(self.sizes, self.preparation, self.iterations)
        self._check_terms()
        network = self.architecture.network
        if not (self.deep_supervision or (self.architecture.fusion and network == DARE)):
            raise ValueError("without deep supervision and without fusion there is nothing to train on")
        if not 0 <= self.dropout < 1 or self.generated_images < 0:
            raise ValueError(
                "dropout is a share in 0..1 exclusive and generated_images at least 0, "
                f"got {self.dropout} and {self.generated_images}"
            )
        taught = "teacher" in dict(self.terms)
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
        if not names or len(set(names)) < len(names) or not set(names) <= set(TERMS):
            raise ValueError(
                f"terms are one or more of {', '.join(TERMS)}, each once; got {', '.join(names) or 'none'}"
            )
        if not all(math.isfinite(weight) and weight > 0 for _, weight in self.terms):
            raise ValueError(f"weights of terms must be positive, got {dict(self.terms)}")
        if self.architecture.network != DARE and self.terms != (("triplet", 1.0),):
            raise ValueError(f"{self.architecture.network} is trained for what its paper says; leave terms out")
        if self.space == "shared" and not {"teacher", "space"} & set(names):
            raise ValueError("exits share a space only by the term teacher or space; add one, or set space to own")

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """The parts of the training, each at one size of pictures."""
        return stretches(self.sizes, self.preparation, self.iterations)

    def rate(self, iteration: int) -> float:
        """Learning rate at an iteration, counted from 0 (equation 4 of the paper, after the warm-up)."""
        decay = max(0.0, iteration - self.decay_start) / max(1, self.iterations - self.decay_start)
        warm = min(1.0, (iteration + 1) / self.warm_up) if self.warm_up else 1.0
        return self.learning_rate * warm * float(self.final_rate**decay)

    def momentum(self, iteration: int) -> float:
        """Adam's beta1 at an iteration."""
        return self.beta1 if iteration <= self.decay_start else self.beta1_late

    def hardness(self, iteration: int) -> float:
        """How hard mining is at an iteration, from 0 to 1."""
        easing = self.ease_in * self.iterations
        return min(1.0, iteration / easing) if easing else 1.0


_IDE = TrainConfig(
    architecture=Architecture(network="ide", embedding_dim=0),
    preparation=Preparation(height=224, width=224),
    augmentation=Augmentation(erasing=0.0),
    people=64,
    images=1,
    iterations=10_000,
    decay_start=8_000,
    final_rate=0.1,
    beta1_late=0.9,
    weight_decay=5e-4,
    dropout=0.5,
)

PRESETS = {
    "paper": TrainConfig(),
    "slim": TrainConfig(
        architecture=Architecture("slim", hidden_dim=256),
        weights=None,
        preparation=Preparation(height=128, width=64),
        augmentation=Augmentation(enlarge=False, erasing=0.3, jitter=0.15),
        iterations=18_000,
        decay_start=7_200,
        final_rate=0.02,
        learning_rate=1e-3,
        warm_up=100,
        beta1_late=0.9,
        weight_decay=0.0,
        fusion_rate=0.1,
        ease_in=0.15,
        average=0.997,
    ),
    "lite": TrainConfig(
        architecture=Architecture("omni", hidden_dim=256, taps=(1, 3, 4), unit=True),
        weights=None,
        preparation=Preparation(height=128, width=64),
        augmentation=Augmentation(enlarge=False, erasing=0.3, jitter=0.15),
        people=16,
        iterations=4_400,
        decay_start=1_100,
        final_rate=0.01,
        learning_rate=1e-3,
        warm_up=50,
        beta1_late=0.9,
        weight_decay=0.0,
        trunk_rate=0.3,
        terms=(("triplet", 1.0), ("identity", 1.0), ("teacher", 6.0)),
        space="shared",
        average=0.998,
    ),
    "demo": TrainConfig(
        architecture=Architecture("tiny", hidden_dim=128, embedding_dim=64),
        weights=None,
        preparation=Preparation(height=64, width=32),
        augmentation=Augmentation(erasing=0.0),
        people=12,
        iterations=800,
        decay_start=480,
        final_rate=0.02,
        learning_rate=3e-3,
        warm_up=30,
        beta1_late=0.9,
        beta2=0.99,
        weight_decay=0.0,
        ease_in=0.3,
    ),
    "trinet": TrainConfig(
        architecture=Architecture(network="trinet"),
        augmentation=Augmentation(erasing=0.0),
        iterations=25_000,
        decay_start=15_000,
        weight_decay=0.0,
    ),
    "ide": _IDE,
    "lsro": replace(
        _IDE,
        people=22,
        generated_images=42,
        iterations=28_000,
        decay_start=22_400,
        weight_decay=1e-4,
        dropout=0.75,
    ),
    "svdnet": replace(
        _IDE,
        architecture=Architecture(network="svdnet", embedding_dim=1024),
        iterations=137_000,
        decay_start=25_000,
        final_rate=0.01,
        dropout=0.0,
        rounds=7,
    ),
    "pan": replace(
        _IDE,
        architecture=Architecture(network="pan", embedding_dim=0),
        people=32,
        iterations=16_000,
        decay_start=12_000,
        dropout=0.75,
    ),
    "mscan": replace(
        _IDE,
        architecture=Architecture("mscan", network="mscan"),
        weights=None,
        preparation=Preparation(height=160, width=64),
        iterations=40_000,
        decay_start=20_000,
        final_rate=0.01,
    ),
    "st-rnn": TrainConfig(
        architecture=Architecture(network="st-rnn"),
        preparation=Preparation(height=224, width=224, frames=8),
        augmentation=Augmentation(erasing=0.0),
        people=8,
        images=2,
        iterations=25_000,
        decay_start=15_000,
        weight_decay=0.0,
    ),
}
"""Name -> settings. `paper`: DaRe(R) with random erasing from ImageNet weights. `slim`: our trunk for CPUs,
from random weights, for Market-1501. `demo`: a tiny trunk at 64x32 for the tiny synthetic benchmark. The others are
what the paper compares with, as far as the papers' settings fit this loop."""


def configure(preset: TrainConfig, settings: Mapping[str, Any], init: str | Path | None = None) -> TrainConfig:
    """A preset with single settings replaced, by their own names wherever they stand in a `TrainConfig`.

    Args:
        settings: such as `{"backbone": "resnet18", "height": 128, "erasing": 0.0, "iterations": 3000}`; weights
            "none" means random. Changed iterations stretch or shrink the schedule unless `decay_start` is given. With
            another backbone pictures are normalised as for its published weights, unless `mean` and `std` are given.
        init: a checkpoint whose network and input are taken over.

    Raises:
        ValueError: a value that cannot be, a setting that the network has no use for, or svdnet on a preset that is not
            made for it without a word on its rounds.
    """
    rest, own_network = dict(settings), preset.architecture.network
    if rest.get("weights") == "none":
        rest["weights"] = None
    if init is not None:
        if "weights" in rest:
            raise ValueError("weights and init both say what to start from; give one of them")
        start = load_checkpoint(init)
        preset = replace(preset, architecture=start.architecture, preparation=start.preparation, weights=None)
    elif "backbone" in rest:
        mean, std = normalisation(rest["backbone"])
        preset = replace(preset, preparation=replace(preset.preparation, mean=mean, std=std))
    if isinstance(rest.get("terms"), str):
        rest["terms"] = parse_terms(rest["terms"])
    rest |= _sized(preset, rest)
    if "iterations" in rest and "decay_start" not in rest:
        rest["decay_start"] = round(preset.decay_start * rest["iterations"] / preset.iterations)
    for part in ("architecture", "preparation", "augmentation"):
        current = getattr(preset, part)
        names = {field.name for field in fields(current)}
        own = {name: rest.pop(name) for name in list(rest) if name in names}
        if own.get("taps") is not None:
            own["taps"] = tuple(own["taps"])
        rest[part] = replace(current, **own)
    network = rest["architecture"].network
    if unused := [name for name in _unused(network) if name in settings]:
        raise ValueError(f"{network} has no use for {', '.join(unused)}; leave that out")
    if network == "svdnet" != own_network and "rounds" not in rest:
        raise ValueError(
            "svdnet needs rounds of restraint and relaxation, and this preset is made for none; set rounds to how many "
            f"(preset svdnet has {PRESETS['svdnet'].rounds}) and average to 0, or rounds to 0 for its plain layer"
        )
    return replace(preset, **rest)


def parse_terms(text: str) -> tuple[tuple[str, float], ...]:
    """`triplet=1,teacher=6` as names and weights; a name alone weighs 1."""
    parts = [part.strip().partition("=") for part in text.split(",")]
    try:
        return tuple((name, float(weight) if sign else 1.0) for name, sign, weight in parts)
    except ValueError:
        raise ValueError(f"expected terms and their weights, such as triplet=1,teacher=6, got {text!r}") from None


def _sized(preset: TrainConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from given sizes for the rest, and from the rest for a preset's sizes."""
    sizes = given.get("sizes", preset.sizes)
    sizes = parse_sizes(sizes) if isinstance(sizes, str) else sizes
    if not sizes:
        return {"sizes": ()}
    if "sizes" not in given:
        return {"sizes": rescaled(sizes, given.get("iterations", preset.iterations))}
    height, width, _ = sizes[-1]
    return {"iterations": sum(size[-1] for size in sizes), "height": height, "width": width, **given, "sizes": sizes}


def _unused(network: str) -> tuple[str, ...]:
    """Settings that change nothing in a network; a preset may have them for others, to give them would mislead."""
    if network == DARE:
        return ()
    one_exit = ("fusion", "fusion_rate", "deep_supervision")
    return one_exit if network in HEADED else (*one_exit, "hidden_dim", "margin", "ease_in")
