"""The ladder: accuracy over time per image on one thread, of a network with exits and of separate networks.

    python bench/ladder.py DATA --model lite --peer 0288.xml --peer osnet.onnx:torchreid [--work FOLDER] [--out PICTURE]

Every network runs on its fastest engine here, and all are timed alternately in one run: median CPU time from a
prepared image to each exit's vector. Peers are files of networks of others, with their preparation behind a colon if
they don't name it; times are also given relative to the first peer. A stream on a budget leaves by agreement, in the
paper's shares; its time is the mean over queries. A cascade runs the network to its last exit, and the last peer where
the agreement is small. Vectors are kept in --work, so a second run only measures times. The official protocol,
one pass, no re-ranking.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dare import (
    Benchmark,
    Embeddings,
    ExitCosts,
    ExitPolicy,
    Runner,
    RunningQuantile,
    embed,
    evaluate,
    geometric_shares,
    open_benchmark,
    open_runner,
    replay,
)
from dare.anytime.records import load_plan
from dare.evaluation.evaluate import Evaluation
from dare.experiments.query_stream import SEED, QueryStream, query_stream
from dare.runners.timing import measure_together
from dare.shipped.card import PLAN
from dare.shipped.network import shipped_at

PRECISIONS = ("fp32", "bf16", "int8")
TICKS = (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20)
BUDGETS = np.arange(0.3, 1.0, 0.05)
ENOUGH = 0.005
"""How much rank-1 and mAP, from 0 to 1, a stream may lose and still count as equal to the full network."""


@dataclass(frozen=True, slots=True)
class Point:
    """A name, mean milliseconds per image, and accuracy from 0 to 1."""

    name: str
    milliseconds: float
    rank1: float
    mean_average_precision: float

    def row(self, unit: float) -> str:
        figures = f"{100 * self.rank1:.1f} / {100 * self.mean_average_precision:.1f}"
        return f"| {self.name} | {self.milliseconds:.2f} | {self.milliseconds / unit:.2f} | {figures} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", required=True, help="a shipped network's name, or a folder of one")
    parser.add_argument("--peer", action="append", required=True)
    parser.add_argument("--work", type=Path, default=Path("ladder"), help="where vectors are kept")
    parser.add_argument("--out", type=Path, help="PNG file of the figure")
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    benchmark = open_benchmark(options.data)
    own = {f"{options.model} {way}": runner for way, runner in ways(options.model)}
    peers = {f"{Path(peer).stem.split(':')[0]} {way}": runner for peer in options.peer for way, runner in ways(peer)}
    runners = own | peers
    measured = measure_together(list(runners.values()), repeats=options.repeats, clock=time.process_time)
    times = {name: 1000 * np.asarray(one.median) for name, one in zip(runners, measured, strict=True)}
    fastest = [best(names, times) for names in grouped(peers)]
    unit = times[fastest[0]][-1]
    vectors = {name: embedded(runners[name], name, benchmark, options.work) for name in [*own, *fastest]}
    evaluations = {name: evaluate(vectors[name], benchmark, costs=runners[name].costs) for name in vectors}
    ladder = [points(name, evaluations[name], times[name]) for name in fastest]
    show("Separate networks", itertools.chain(*ladder), unit)
    for name in own:
        show(name, points(name, evaluations[name], times[name]), unit)
    chosen, last = best(own, times), fastest[-1]
    exits = points(chosen, evaluations[chosen], times[chosen])
    queries = query_stream(evaluations[chosen])
    stream = streamed(queries, times[chosen])
    if (network := shipped_at(options.model)) is not None:
        shares = load_plan(network.checked(PLAN), len(times[chosen])).shares
        stream.append(
            left_by(RunningQuantile(shares), "the shipped plan", queries.shuffled(SEED), nanoseconds(times[chosen]))
        )
    show(f"{chosen}, streams on a budget", stream, unit)
    say_least("the full network's time", stream, exits[-1])
    spent = np.array([times[chosen][-1], times[chosen][-1] + times[last][-1]])
    cascade = streamed(query_stream(evaluate(joined(vectors[chosen], vectors[last]), benchmark)), spent)
    show(f"{chosen}, then {last}", cascade, unit)
    say_least(f"{last}'s time", cascade, ladder[-1][0])
    if options.out:
        draw(options.out, [*itertools.chain(*ladder)], exits, stream, cascade)


def ways(model: str) -> Iterator[tuple[str, Runner]]:
    """A network with every engine and precision available."""
    path, _, family = model.partition(":")
    refused: Exception | None = None
    found = 0
    for engine, precision in itertools.product(("openvino", "onnx"), PRECISIONS):
        try:
            runner = open_runner(path, engine, precision=precision, preparation=family or None)
        except (ValueError, ImportError) as error:
            refused = error  # not every network is to be had in every way
            continue
        found += 1
        yield f"{engine} {precision}", runner
    if not found and refused:
        raise refused


def grouped(names: dict[str, Runner]) -> Iterator[list[str]]:
    """Names of one network, which differ in engine and precision."""
    for _, group in itertools.groupby(names, key=lambda name: name.rsplit(" ", 2)[0]):
        yield list(group)


def best(names: "dict[str, Runner] | list[str]", times: dict[str, np.ndarray]) -> str:
    """The fastest to the last exit."""
    return min(names, key=lambda name: float(times[name][-1]))


def embedded(runner: Runner, name: str, benchmark: Benchmark, work: Path) -> Embeddings:
    file = work / f"{name.replace(' ', '-')}-{runner.digest[:12]}.npz"
    if not file.exists():
        print(f"embedding {benchmark.name} by {name}", flush=True)
        embed(runner, [*benchmark.query, *benchmark.gallery], root=benchmark.root).save(file)
    return Embeddings.load(file)


def points(name: str, evaluation: Evaluation, milliseconds: np.ndarray) -> list[Point]:
    found = []
    for exit, spent in zip(evaluation.exits, milliseconds, strict=True):
        label = name if len(milliseconds) == 1 else f"{name}, {exit.name}"
        found.append(Point(label, float(spent), exit.scores.cmc(1), exit.scores.mean_average_precision))
    return found


def streamed(stream: QueryStream, milliseconds: np.ndarray) -> list[Point]:
    """Streams with the paper's shares (equation 3), by the running quantile of their agreements."""
    stream, costs, found = stream.shuffled(SEED), nanoseconds(milliseconds), []
    for share in BUDGETS:
        budget = share * costs.macs[-1]
        if budget <= costs.macs[0]:
            continue
        policy = RunningQuantile(geometric_shares(costs, budget))
        found.append(left_by(policy, f"{share:.0%} of the time", stream, costs))
    return found


def left_by(policy: ExitPolicy, name: str, stream: QueryStream, costs: ExitCosts) -> Point:
    exits = replay(stream.confidences["agreement"], policy)
    outcome = stream.outcomes.pick(exits[None])
    return Point(name, costs.mean(exits) / 1e6, float(outcome.means("rank-1")[0]), float(outcome.means("mAP")[0]))


def nanoseconds(milliseconds: np.ndarray) -> ExitCosts:
    return ExitCosts(tuple(round(1e6 * spent) for spent in milliseconds), "nanoseconds")


def joined(first: Embeddings, second: Embeddings) -> Embeddings:
    """A cascade of two networks' last exits."""
    stages = tuple(vectors.exits()[-1] for vectors in (first, second))
    return Embeddings(stages, None, first.ids, first.people, first.cameras)


def say_least(of: str, stream: list[Point], full: Point) -> None:
    enough = [
        point
        for point in stream
        if point.rank1 >= full.rank1 - ENOUGH and point.mean_average_precision >= full.mean_average_precision - ENOUGH
    ]
    if enough:
        least = min(enough, key=lambda point: point.milliseconds)
        print(f"within half a point of both from {least.milliseconds / full.milliseconds:.0%} of {of} on\n")
    else:
        print("no budget comes within half a point of both\n")


def show(title: str, rows: "list[Point] | Iterator[Point]", unit: float) -> None:
    print(f"\n{title}\n\n| | ms | of the first peer's | rank-1 / mAP |\n|---|---|---|---|")
    for point in rows:
        print(point.row(unit))
    print(flush=True)


def draw(out: Path, ladder: list[Point], exits: list[Point], stream: list[Point], cascade: list[Point]) -> None:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    for panel, (label, of) in zip(panels, (("rank-1, %", "rank1"), ("mAP, %", "mean_average_precision")), strict=True):
        for points, style, name in (
            (ladder, "s--", "separate networks"),
            (exits, "o-", "exits of one network"),
            (stream, "^:", "its streams on a budget"),
            (cascade, "v:", "cascade with the largest"),
        ):
            panel.plot([p.milliseconds for p in points], [100 * getattr(p, of) for p in points], style, label=name)
        for point in ladder:
            at = (point.milliseconds, 100 * getattr(point, of))
            short = point.name.split()[0].removeprefix("person-reidentification-retail-").removesuffix("_market1501")
            panel.annotate(short, at, textcoords="offset points", xytext=(5, -10), fontsize=8)
        panel.set(xscale="log", xlabel="CPU ms of one image, one thread", ylabel=label)
        panel.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        every = [point.milliseconds for point in (*ladder, *exits, *stream, *cascade)]
        panel.set_xlim(0.9 * min(every), 1.1 * max(every))
    panels[1].legend(fontsize=8)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main()
