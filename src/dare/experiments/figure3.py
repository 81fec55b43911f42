"""Figure 3: the error of every stage and of the fusion, over several runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import Bootstrap, Measure
from dare.experiments.query_stream import SEED
from dare.experiments.runs import Average, Runs

PUBLISHED: dict[Measure, dict[str, float]] = {
    "rank-1": {"stage 1": 66.7, "fusion": 88.5},
    "mAP": {"fusion": 74.2},
}
"""What the paper prints of its figure 3, in percent: that stage 1 reaches an error of 33.3 % (section 5.2; the authors'
own log says 34.6 %), and the fusion in table 1."""

SOURCE = "DaRe(R)+RE on Market-1501, ten crops: section 5.2 (stage 1) and table 1 (fusion)"


@dataclass(frozen=True, slots=True)
class Figure3:
    """The bars of the figure.

    Attributes:
        runs: what they are of.
        averages: one for each vector.
    """

    runs: Runs
    averages: tuple[dict[Measure, Average], ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per vector: error (100 - rank-1) and mAP in percent, the standard deviation of the runs,
        and the interval over people."""
        for vector, average in zip(self.runs.vectors, self.averages, strict=True):
            yield {
                "vector": vector,
                "runs": len(self.runs),
                **average["rank-1"].row("error", wrong=True),
                **average["mAP"].row("mAP"),
            }


def figure3(evaluations: Mapping[str, Evaluation], *, seed: int = SEED) -> Figure3:
    """The mean over runs, and how far runs lie apart.

    Args:
        evaluations: runs of one recipe by their names, on the same queries.
        seed: of the bootstrap.

    Raises:
        ValueError: no run, or runs that cannot be compared.
    """
    runs = Runs.of(evaluations)
    return Figure3(runs, tuple(runs.averages(Bootstrap(runs.people, seed))))
