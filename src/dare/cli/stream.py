"""`dare stream`: a stream of queries on a budget."""

import math
import sys
import time
from collections.abc import Sequence
from csv import writer
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.table import Table

from dare.cli import routing
from dare.cli.calibration import TimesFile
from dare.cli.galleries import GalleryFolder, OtherModels, network_paths, open_with_network, unlabelled
from dare.cli.options import Engine, EngineOptions, Layout, NoPeople, PicturesBelow
from dare.cli.search import JsonOut
from dare.cli.terminal import STDOUT, console, one_line, output, progress, write_json
from dare.files import check_writable, replacing

if TYPE_CHECKING:
    from dare.anytime.costs import ExitCosts, ExitTimes
    from dare.anytime.policies import ExitPolicy
    from dare.datasets import Sample
    from dare.gallery.lance import LanceGallery
    from dare.identification.answer import Answer
    from dare.identification.summary import StreamSummary
    from dare.runners.runner import Runner


def stream(
    gallery: GalleryFolder,
    /,
    *,
    queries: PicturesBelow,
    mean_macs: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    mean_time: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    times: TimesFile = None,
    policy: routing.Policy | None = None,
    plan: Path | None = None,
    confidence: Literal["margin", "nearness"] | None = None,
    allowed: Literal["paper", "other-cameras", "all"] | None = None,
    micro_batch: int = 4,
    window: int | None = None,
    seed: int | None = None,
    split: Literal["train", "query", "gallery"] = "query",
    no_people: NoPeople = False,
    count: int = 10,
    answers: Path | None = None,
    json: JsonOut = None,
    layout: Layout = None,
    model: OtherModels = None,
    engine: EngineOptions = None,
) -> None:
    """Identify a stream of queries on a budget: easy ones leave early, so that the mean cost meets it.

    Prints where queries left, what they cost, and how right they were where that is known. Pictures that cannot be read
    are named, the stream goes on, and the exit status is 3.

    Parameters
    ----------
    mean_macs
        The budget: mean multiply-adds per query, such as 1.2G.
    mean_time
        Or the budget as mean time per query, such as 2.5ms: costs are then the measured times of the exits.
    policy
        steered: shares follow what was spent, the default with a budget; quantile: the paper's rule, the default with a
        plan; chance: the paper's random baseline; thresholds: those of a plan.
    plan
        What `dare choose-exits` wrote: its thresholds with --policy thresholds, its shares with --policy quantile. A
        shipped network brings one, which is followed where no budget is given.
    confidence
        How sure an answer is: its margin to the nearest other person, which is the default, or its nearness.
    allowed
        What a query is compared with: entries of other-cameras, which is the default where cameras are known; all of
        them; or as in the paper, whose protocol leaves out the query's own person at its own camera and so has to know
        whom it shows.
    micro_batch
        Queries that run together.
    window
        How many confidences to remember per exit: all if not given, for steered 256.
    seed
        Of chance; 0 if not given.
    split
        Which pictures of a data set with splits.
    count
        Entries per answer.
    answers
        CSV file to write: a line per query.
    """
    from dare.datasets import open_benchmark
    from dare.identification.summary import filters, summarise, themselves

    for path in (answers, json):
        if path not in (None, STDOUT):
            check_writable(path)
    routing.refuse_unused(policy, plan, mean_macs, mean_time, times, window, seed)
    benchmark = open_benchmark(queries, layout, unlabelled=True)
    samples = _single_pictures(unlabelled(getattr(benchmark, split), no_people), queries, split)
    store, runner = open_with_network(gallery, model, engine := engine or Engine())
    try:
        plan = plan or routing.shipped_plan(network_paths(store, model), policy, mean_macs, mean_time)
        policy = policy or ("steered" if plan is None else "quantile")
        learnt = routing.learnt(policy, plan, runner)
        confidence, chosen = routing.looking(confidence, allowed, learnt, policy, benchmark.cameras_known)
        own = themselves(samples, store)
        where = filters(samples, benchmark.cameras_known, chosen, own)
        settings: dict[str, Any] = {"count": count, "where": None, "confidence": confidence}
        costs, budget = routing.budget(mean_macs, mean_time, times, runner, store, settings, learnt is None)
        leave = routing.policy(policy, costs, budget, learnt, window, seed or 0)
        settings |= {"where": where.__getitem__, "micro_batch": micro_batch, "workers": engine.workers}
        found, seconds = _identified(samples, runner, store, leave, settings)
        summary = summarise(found, samples, store, runner.costs, None if benchmark.cameras_known else own)
        how = {"policy": policy, "confidence": confidence, "allowed": chosen, "micro_batch": micro_batch}
        figures = _figures(summary, runner, costs, budget, seconds, found) | how
        if answers is not None:
            _write_answers(answers, benchmark.identify(samples), found, runner)
        if json is not None:
            write_json(json, figures)
        if json != STDOUT:
            _show(figures, store.count())
            _note_entries(sum(id is not None for id in own), benchmark.cameras_known)
    finally:
        store.close()
    if summary.unreadable:
        sys.exit(3)


def _single_pictures(samples: "list[Sample]", queries: Path, split: str) -> "list[Sample]":
    if not samples:
        raise ValueError(f"{queries} has no pictures in its split {split}; choose another one with --split")
    if several := [sample for sample in samples if len(sample.images) > 1]:
        raise ValueError(
            f"a stream asks with single pictures, and {several[0].images[0].name} is one of the "
            f"{len(several[0].images)} of a tracklet; dare evaluate scores tracklets"
        )
    return samples


def _identified(
    samples: "Sequence[Sample]",
    runner: "Runner",
    store: "LanceGallery",
    policy: "ExitPolicy",
    settings: dict[str, Any],
) -> "tuple[list[Answer], float]":
    """Answers to all samples, and how many seconds they took together."""
    from dare.identification.stream import identify_stream

    found: list[Answer] = []
    start = time.monotonic()
    with progress() as show:
        for answer in identify_stream([sample.images[0] for sample in samples], runner, store, policy, **settings):
            found.append(answer)
            show("identifying", len(found), len(samples))
    seconds = time.monotonic() - start
    for answer in found:
        if answer.problem:
            console.print(f"left out: {one_line(answer.problem)}")
    return found, seconds


def _figures(
    summary: "StreamSummary",
    runner: "Runner",
    costs: "ExitCosts | ExitTimes",
    budget: float | None,
    seconds: float,
    found: "list[Answer]",
) -> dict[str, Any]:
    from dare.anytime.costs import ExitCosts

    spent = summary.mean_macs
    if not isinstance(costs, ExitCosts):
        spent = costs.mean([answer.exit for answer in found if answer.exit >= 0])
    return {
        "queries": summary.queries,
        "unreadable": summary.unreadable,
        "runner": runner.description,
        "exits": dict(zip(runner.exit_names, summary.left, strict=True)),
        "unit": "multiply-adds" if isinstance(costs, ExitCosts) else "seconds",
        "costs": list(costs.macs if isinstance(costs, ExitCosts) else costs.median),
        "costs_source": costs.source,
        "budget": budget,
        "spent": _number(spent),
        "mean_macs": _number(summary.mean_macs),
        "seconds_per_query": _number(seconds / max(1, summary.queries)),
        "scored": summary.scored,
        "rank1": _number(summary.rank1),
        "mAP": _number(summary.mean_average_precision),
    }


def _number(value: float) -> float | None:
    """NaN is no JSON."""
    return value if math.isfinite(value) else None


def _show(figures: dict[str, Any], entries: int) -> None:
    queries = figures["queries"]
    output.print(f"{queries} queries, {entries} gallery entries, compared with {figures['allowed']}")
    time_unit = figures["unit"] == "seconds"

    def cost(value: float) -> str:
        return f"{1000 * value:.2f} ms" if time_unit else f"{value / 1e6:,.1f} M"

    table = Table("exit", "queries", "share", "time" if time_unit else "multiply-adds")
    for (name, left), each in zip(figures["exits"].items(), figures["costs"], strict=True):
        table.add_row(name, str(left), f"{100 * left / max(1, queries):.1f} %", cost(each))
    output.print(table)
    if figures["spent"] is not None:
        budget = figures["budget"]
        against = f", budget {cost(budget)} ({100 * (figures['spent'] / budget - 1):+.2f} %)" if budget else ""
        full = f"{100 * figures['spent'] / figures['costs'][-1]:.1f} % of the full network"
        output.print(f"spent per query: {cost(figures['spent'])}{against}, {full}")
        output.print(f"wall clock per query: {1000 * figures['seconds_per_query']:.2f} ms, reading and search included")
    if figures["scored"]:
        accuracy = f"rank-1 {100 * figures['rank1']:.1f}, mAP {100 * figures['mAP']:.1f}"
        output.print(f"{accuracy} by the official protocol, over {figures['scored']} queries with a valid match")
    else:
        output.print("accuracy: unknown, no query with a known person has a valid match")
    output.print(f"costs: {figures['costs_source']}")
    if figures["unreadable"]:
        output.print(f"note: {figures['unreadable']} pictures could not be read")


def _note_entries(same: int, cameras_known: bool) -> None:
    if same:
        found_too = "may find themselves" if cameras_known else "aren't compared with themselves"
        output.print(f"note: {same} queries are entries of the gallery, and {found_too}")


def _write_answers(path: Path, ids: "Sequence[str]", found: "list[Answer]", runner: "Runner") -> None:
    """A line per query. Texts that a spreadsheet would take for a formula get a quote in front."""
    lines = StringIO()
    table = writer(lines)
    table.writerow(["query", "exit", "macs", "confidence", "person", "distance", "picture", "problem"])
    for id, answer in zip(ids, found, strict=True):
        hits = answer.hits
        name = runner.exit_names[answer.exit] if answer.exit >= 0 else ""
        best = [hits.people[0, 0], hits.distances[0, 0], _plain(str(hits.ids[0, 0]))] if hits.ids.size else ["", "", ""]
        best[0] = "" if hits.ids.size and hits.people[0, 0] < 0 else best[0]
        table.writerow([_plain(id), name, answer.macs, answer.confidence, *best, _plain(answer.problem)])
    with replacing(path) as file:
        file.write(lines.getvalue().encode(errors="surrogateescape"))


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
