"""Figure 4: what deep supervision is worth: the same network trained with a loss on every stage, and without."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import Accuracy, Bootstrap, Measure
from dare.experiments.query_stream import SEED
from dare.experiments.runs import Average, Runs

CLAIM = "The paper's claim: without deep supervision the error rates increase by 2 %."
"""Section 5.2. It gives no numbers of its figure 4."""

GROUPS = ("with deep supervision", "without")


@dataclass(frozen=True, slots=True)
class Figure4:
    """The bars of the figure.

    Attributes:
        groups: runs with deep supervision, and without.
        averages: for each group, one for each vector.
        gains: for each vector by how much better it is with deep supervision: the means of the runs, query by query,
            with the interval that other people might have given; it does not cover training.
    """

    groups: tuple[Runs, Runs]
    averages: tuple[tuple[dict[Measure, Average], ...], ...]
    gains: tuple[Accuracy, ...]

    @property
    def vectors(self) -> tuple[str, ...]:
        """What the networks' vectors are called."""
        return self.groups[0].vectors

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per group and vector, as of figure 3; gains stand with the first group."""
        for name, runs, averages in zip(GROUPS, self.groups, self.averages, strict=True):
            for place, vector in enumerate(self.vectors):
                gain = self.gains[place].row("gain_")
                yield {
                    "group": name,
                    "vector": vector,
                    "runs": len(runs),
                    **averages[place]["rank-1"].row("error", wrong=True),
                    **averages[place]["mAP"].row("mAP"),
                    **(gain if name == GROUPS[0] else dict.fromkeys(gain, "")),
                }


def figure4(
    supervised: Mapping[str, Evaluation], unsupervised: Mapping[str, Evaluation], *, seed: int = SEED
) -> Figure4:
    """Compare two groups of runs.

    Args:
        supervised: runs with deep supervision by their names.
        unsupervised: runs that were trained alike, but with a loss on the fused vector only.
        seed: of the bootstrap.

    Raises:
        ValueError: an empty group, or runs that cannot be compared.
    """
    if shared := {*supervised} & {*unsupervised}:
        raise ValueError(f"{min(shared)} is in both groups; give each run once")
    Runs.of({**supervised, **unsupervised})  # all of them must be comparable
    groups = Runs.of(supervised), Runs.of(unsupervised)
    bootstrap = Bootstrap(groups[0].people, seed)
    gains = bootstrap.accuracies(groups[0].mean - groups[1].mean)
    return Figure4(groups, tuple(tuple(runs.averages(bootstrap)) for runs in groups), tuple(gains))
