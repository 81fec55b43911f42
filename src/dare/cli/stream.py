"""`dare stream`: a stream of queries on a budget."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from csv import writer
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.table import Table

from dare.cli import quantities
from dare.cli.galleries import GalleryFolder, OtherModels, open_with_network, unlabelled
from dare.cli.options import Engine, EngineOptions, Layout, NoPeople, PicturesBelow
from dare.cli.search import STDOUT, JsonOut, TimesFile, exit_times, write_json
from dare.cli.terminal import console, one_line, output, progress
from dare.files import check_writable, replacing

if TYPE_CHECKING:
    from dare.answer import Answer, Confidence
    from dare.anytime.costs import ExitCosts, ExitTimes
    from dare.anytime.nearest import Allowed
    from dare.anytime.policies import ExitPolicy
    from dare.calibration import PlanFile
    from dare.datasets import Sample
    from dare.gallery.lance import LanceGallery
    from dare.runners.runner import Runner
    from dare.streaming import StreamSummary

LEAST_WINDOW = 50
Policy = Literal["quantile", "steered", "chance", "thresholds"]


def stream(
    gallery: GalleryFolder,
    /,
    *,
    queries: PicturesBelow,
    mean_macs: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    mean_time: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    times: TimesFile = None,
    policy: Policy = "steered",
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
        steered: shares follow what was spent; quantile: the paper's rule; chance: the paper's random baseline;
        thresholds: those of a plan.
    plan
        What `dare choose-exits` wrote: its thresholds with --policy thresholds, its shares with --policy quantile.
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
    from dare.streaming import filters, summarise, themselves

    for path in (answers, json):
        if path not in (None, STDOUT):
            check_writable(path)
    _refuse_unused(policy, plan, mean_macs, mean_time, times, window, seed)
    benchmark = open_benchmark(queries, layout, unlabelled=True)
    samples = unlabelled(getattr(benchmark, split), no_people)
    if not samples:
        raise ValueError(f"{queries} has no pictures in its split {split}; choose another one with --split")
    store, runner = open_with_network(gallery, model, engine or Engine())
    try:
        learnt = _learnt(policy, plan, runner)
        confidence, chosen = _looking(confidence, allowed, learnt, benchmark.cameras_known)
        own = themselves(samples, store)
        where = filters(samples, benchmark.cameras_known, chosen, own)
        settings: dict[str, Any] = {"count": count, "where": None, "confidence": confidence}
        costs, budget = _budget(mean_macs, mean_time, times, runner, store, settings, learnt is None)
        leave = _policy(policy, costs, budget, learnt, window, seed or 0)
        settings |= {"where": where.__getitem__, "micro_batch": micro_batch}
        found, seconds = _identified(samples, runner, store, leave, settings)
        summary = summarise(found, samples, store, runner.costs, None if benchmark.cameras_known else own)
        figures = _figures(summary, runner, costs, budget, seconds, found) | {
            "policy": policy,
            "confidence": confidence,
            "allowed": chosen,
            "micro_batch": micro_batch,
        }
        if json != STDOUT:
            _show(figures, store.count())
            if same := sum(id is not None for id in own):
                found_too = "may find themselves" if benchmark.cameras_known else "are not compared with themselves"
                output.print(f"note: {same} queries are entries of the gallery, and {found_too}")
        if answers is not None:
            _write_answers(answers, benchmark.identify(samples), found, runner)
    finally:
        store.close()
    if json is not None:
        write_json(json, figures)
    if summary.unreadable:
        sys.exit(3)


def _identified(
    samples: "Sequence[Sample]",
    runner: "Runner",
    store: "LanceGallery",
    policy: "ExitPolicy",
    settings: dict[str, Any],
) -> "tuple[list[Answer], float]":
    """Answers to all samples, and how many seconds they took together."""
    from dare.identification import identify_stream

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


def _refuse_unused(
    policy: Policy,
    plan: Path | None,
    mean_macs: str | None,
    mean_time: str | None,
    times: Path | None,
    window: int | None,
    seed: int | None,
) -> None:
    """An option that would change nothing is a misunderstanding."""
    if mean_macs is not None and mean_time is not None:
        raise ValueError("give either --mean-macs or --mean-time")
    if plan is not None and (mean_macs is not None or mean_time is not None):
        raise ValueError("a plan has its own budget; give either --plan or a budget")
    if plan is not None and policy not in ("thresholds", "quantile"):
        raise ValueError(f"a plan belongs to --policy thresholds or quantile, not to {policy}")
    if plan is None and policy == "thresholds":
        raise ValueError("--policy thresholds needs --plan FILE, which dare choose-exits writes")
    if times is not None and mean_time is None:
        raise ValueError("--times belongs to --mean-time")
    if window is not None and (policy not in ("steered", "quantile") or window < LEAST_WINDOW):
        raise ValueError(f"--window belongs to --policy steered or quantile, and is at least {LEAST_WINDOW}")
    if seed is not None and (policy != "chance" or seed < 0):
        raise ValueError("--seed belongs to --policy chance, and is at least 0")


def _budget(
    mean_macs: str | None,
    mean_time: str | None,
    times: Path | None,
    runner: "Runner",
    store: "LanceGallery",
    settings: dict[str, Any],
    needed: bool,
) -> "tuple[ExitCosts | ExitTimes, float | None]":
    """What exits cost, and how much a query may cost in the mean, in one unit."""
    if mean_time is not None:
        measured = exit_times(times, runner, store, settings)
        first = math.ceil(measured.median[0] * 1e5) / 100
        return measured, _at_least(mean_time, quantities.seconds, measured.median[0], f"{first}ms")
    first = math.ceil(runner.costs.macs[0] / 1e4) / 100
    if mean_macs is None and needed:
        least = f"the smallest possible budget is {first}M, the first exit alone"
        raise ValueError(f"give a budget, --mean-macs or --mean-time; {least}")
    if mean_macs is None:
        return runner.costs, None
    return runner.costs, _at_least(mean_macs, quantities.macs, runner.costs.macs[0], f"{first}M")


def _at_least(text: str, read: Callable[[str], float], least: float, written: str) -> float:
    """A budget, not below the first exit's cost."""
    smallest = f"the smallest possible budget is {written}, the first exit alone"
    try:
        value = read(text)
    except ValueError as error:
        raise ValueError(f"{error}; {smallest}") from None
    if value < least:
        raise ValueError(f"a mean budget of {text} cannot be met; {smallest}")
    return value


def _learnt(policy: Policy, plan: Path | None, runner: "Runner") -> "PlanFile | None":
    from dare.calibration import load_plan
    from dare.gallery.errors import MismatchError

    if plan is None:
        return None
    found = load_plan(plan, runner)
    if policy == "thresholds" and found.crops != 1:
        raise ValueError(f"the thresholds in {plan} are for {found.crops} crops, a stream takes one; choose again")
    if policy == "thresholds" and found.model != runner.digest:
        raise MismatchError(
            f"the thresholds in {plan} are for model {found.model[:12]}, this is model {runner.digest[:12]}; "
            "choose again, or take the plan's shares with --policy quantile"
        )
    return found


def _looking(
    confidence: "Confidence | None",
    allowed: "Allowed | None",
    learnt: "PlanFile | None",
    cameras_known: bool,
) -> "tuple[Confidence, Allowed]":
    """What confidence is computed from what: as asked for, as a plan was made, or as is usual."""
    if learnt is None:
        return confidence or "margin", allowed or ("other-cameras" if cameras_known else "all")
    if confidence not in (None, learnt.confidence) or allowed not in (None, learnt.allowed):
        raise ValueError(
            f"the plan was made for {learnt.confidence} compared with {learnt.allowed}; "
            "leave --confidence and --allowed out"
        )
    return learnt.confidence, learnt.allowed


def _policy(
    name: Policy,
    costs: "ExitCosts | ExitTimes",
    budget: float | None,
    learnt: "PlanFile | None",
    window: int | None,
    seed: int,
) -> "ExitPolicy":
    from dare.anytime.budgets import adjacent_shares, geometric_shares
    from dare.anytime.policies import Chance, RunningQuantile, Thresholds
    from dare.anytime.steering import STEERING_WINDOW, Steered

    if learnt is not None:
        return Thresholds(learnt.thresholds) if name == "thresholds" else RunningQuantile(learnt.shares, window)
    assert budget is not None
    if name == "steered":
        return Steered(costs, budget, window=window or STEERING_WINDOW)
    if name == "quantile":
        return RunningQuantile(geometric_shares(costs, budget), window)
    return Chance(adjacent_shares(costs, budget), seed)


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
