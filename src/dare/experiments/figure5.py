"""Figure 5: what can be answered when the budget runs out, by one network with exits or by several in sequence."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts, ExitTimes
from dare.experiments.accuracy import Accuracy, Bootstrap, Outcomes
from dare.experiments.query_stream import SEED, QueryStream

CLAIM = "The paper's claim: 3 to 5 points of rank-1 above SE-ResNets beyond 2.5 billion multiply-adds."
"""Section 5.3.1. It gives no numbers of its figure 5; those of DaRe's exits are in `published_exits`."""


@dataclass(frozen=True, slots=True)
class Network:
    """Something that can answer at each of its E exits.

    Attributes:
        outcomes: (E, Q), of the same queries in the same order as all other networks'.
        costs, times: of leaving at each exit; times where they were measured.
    """

    name: str
    outcomes: Outcomes
    costs: ExitCosts
    times: ExitTimes | None = None

    def __post_init__(self) -> None:
        exits = len(self.outcomes.right)
        if len(self.costs.macs) != exits or (self.times and len(self.times.median) != exits):
            raise ValueError(f"{self.name}: expected costs of {exits} exits, got {self.costs.macs}, {self.times}")


def answering_exits(costs: Sequence[float], budgets: NDArray[np.floating]) -> NDArray[np.int64]:
    """The deepest exit, counted from 0, whose cost is within each budget; -1 where not even the first is."""
    return np.searchsorted(np.asarray(costs, np.float64), budgets, side="right").astype(np.int64) - 1


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much the first network's answers are better than another's, from a budget up to the next step of either.

    Attributes:
        from_macs, to_macs: the budgets it holds for; the last one is infinite.
        difference: paired, of the same queries; where both can answer.
    """

    other: str
    from_macs: float
    to_macs: float
    difference: Accuracy


@dataclass(frozen=True, slots=True)
class Figure5:
    """The steps of the figure.

    Attributes:
        accuracies: one tuple per network, an accuracy per exit.
        leads: of the first network over each of the others.
    """

    benchmark: str
    queries: int
    networks: tuple[Network, ...]
    accuracies: tuple[tuple[Accuracy, ...], ...]
    leads: tuple[Lead, ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per network and exit: what is answered from that budget on, in percent."""
        for network, accuracies in zip(self.networks, self.accuracies, strict=True):
            for exit, (macs, accuracy) in enumerate(zip(network.costs.macs, accuracies, strict=True)):
                ms = "" if network.times is None else f"{1000 * network.times.median[exit]:.4g}"
                yield {"network": network.name, "exit": exit + 1, "macs": macs, "ms": ms} | accuracy.row()

    def lead_rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per range of budgets: the first network's lead over another, in percentage points."""
        for lead in self.leads:
            row = {"first": self.networks[0].name, "other": lead.other}
            yield row | {"from_macs": lead.from_macs, "to_macs": lead.to_macs} | lead.difference.row()


def figure5(stream: QueryStream, networks: Sequence[Network], *, seed: int = SEED) -> Figure5:
    """Accuracy as a function of the budget, when the latest answer that is ready counts.

    Args:
        stream: whose queries they are; in the order of the networks' outcomes.
        networks: the one to compare first.
        seed: of the bootstrap.

    Raises:
        ValueError: no network, two of one name, or outcomes of other queries.
    """
    names = [network.name for network in networks]
    if not names or len({*names}) < len(names):
        raise ValueError(f"expected networks with different names, got {names}")
    for network in networks:
        known, expected = np.isnan(network.outcomes.precision[0]), np.isnan(stream.outcomes.precision[0])
        if known.shape != expected.shape or (known != expected).any():
            raise ValueError(f"{network.name} has outcomes of other queries than the stream; evaluate it on the same")
    bootstrap = Bootstrap(stream.people, seed)
    accuracies = tuple(tuple(bootstrap.accuracies(network.outcomes)) for network in networks)
    leads = tuple(lead for other in networks[1:] for lead in _leads(networks[0], other, bootstrap))
    return Figure5(stream.benchmark, len(stream), tuple(networks), accuracies, leads)


def _leads(first: Network, other: Network, bootstrap: Bootstrap) -> Iterator[Lead]:
    start = max(first.costs.macs[0], other.costs.macs[0])
    steps = sorted(macs for macs in {*first.costs.macs, *other.costs.macs} if macs >= start)
    ours, theirs = (
        network.outcomes.at(answering_exits(network.costs.macs, np.asarray(steps))) for network in (first, other)
    )
    ends = [*steps[1:], math.inf]
    for step, end, difference in zip(steps, ends, bootstrap.accuracies(ours - theirs), strict=True):
        yield Lead(other.name, step, end, difference)
