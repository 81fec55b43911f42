"""`dare stream`: a stream of queries on a budget."""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dare.anytime.costs import ExitCosts, ExitTimes
from dare.cli import options
from dare.cli.calibration import TimesFile, exit_times
from dare.cli.galleries import GalleryFolder, MovedModels, opened, unknown
from dare.cli.terminal import check_outputs, console, mega, one_line, output, progress, say, show_table, write_json
from dare.datasets import Benchmark, Sample, open_benchmark
from dare.datasets.seen import trained_on
from dare.runners.runner import Runner

if TYPE_CHECKING:
    from dare.anytime.policies import ExitPolicy
    from dare.gallery.lance import LanceGallery
    from dare.identification.answer import Answer
    from dare.identification.summary import StreamSummary

NOTICEABLE = 0.2
"""How far measured times may be from calibrated ones, relatively, before that is said."""

Policy = Literal["steered", "quantile", "chance", "thresholds"]


def stream(
    gallery: GalleryFolder,
    /,
    *,
    queries: options.Queried,
    split: options.Split = "query",
    mean_macs: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    mean_time: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    times: TimesFile = None,
    policy: Policy | None = None,
    plan: Path | None = None,
    confidence: Literal["margin", "nearness", "agreement"] | None = None,
    allowed: Literal["other-cameras", "all", "paper"] | None = None,
    micro_batch: options.Positive = 4,
    answers: Path | None = None,
    json: options.JsonOut = None,
    layout: options.Layout = None,
    model: MovedModels = None,
    engine: options.EngineOptions = options.ENGINE,
) -> None:
    """Identify a stream of queries on a budget: easy ones leave early, so that the mean cost meets it.

    Prints where queries left, what they cost, and how right they were where that is known. Pictures that cannot be read
    are named, the stream goes on, and the exit status is 3.

    Parameters
    ----------
    split
        Which pictures of a data set with splits.
    mean_macs
        The budget: mean multiply-adds per query, such as 1.2G.
    mean_time
        Or the budget as mean time per query, such as 2.5ms: exits then cost their measured times.
    policy
        steered: shares follow what was spent, the default with a budget; quantile: the paper's rule, the default with a
        plan; chance: the paper's random baseline; thresholds: those of a plan.
    plan
        What `dare choose-exits` wrote: its shares with --policy quantile, its thresholds with --policy thresholds. A
        shipped network brings one, which is followed if no budget is given.
    confidence
        How sure an answer is: its margin to the nearest other person, the default; its nearness; or how far its list
        agrees with its first entry, which keeps more of the mAP.
    allowed
        Which entries a query is compared with: those of other-cameras, the default where cameras are known; all; or as
        in the paper all but its own person's at its own camera, which takes its label to know.
    micro_batch
        Queries that run together.
    answers
        CSV file to write: a line per query.
    """
    from dare.identification import routing
    from dare.identification.answer_table import write_answers
    from dare.identification.opening import network_paths
    from dare.identification.summary import filters, static_mix, summarise, themselves

    check_outputs(answers, json)
    budget = _budget(mean_macs, mean_time, times, policy, plan)
    benchmark = open_benchmark(queries, layout, unlabelled=True)
    say(benchmark.notes)
    samples, known = _single_pictures(getattr(benchmark, split), queries, split), benchmark.cameras_known
    with opened(gallery, model, engine) as (store, runner):
        paths = network_paths(store, model)
        followed = None if budget else routing.plan_for(runner, paths, plan, policy)
        policy = policy or ("quantile" if followed else "steered")
        confidence, allowed = routing.compared(followed, policy, confidence, allowed, known)
        own = themselves(samples, store)
        where = filters(samples, known, allowed, own)
        costs = runner.costs if mean_time is None else exit_times(times, runner, store, {"confidence": confidence})
        leave = routing.make_policy(policy, followed, costs, budget)
        settings = {"where": where.__getitem__, "confidence": confidence, "micro_batch": micro_batch}
        found, seconds = _identified(samples, runner, store, leave, settings | {"workers": engine.workers})
        summary = summarise(found, samples, store, runner.costs, None if known else own)
        how = {"policy": policy, "confidence": confidence, "allowed": allowed, "micro_batch": micro_batch}
        figures = _figures(summary, runner, costs, budget, seconds * engine.workers, found) | how
        if summary.scored:
            read = [number for number, answer in enumerate(found) if answer.exit >= 0 and samples[number].person >= 0]
            themselves_read = None if known else [own[number] for number in read]
            asked = [samples[number] for number in read]
            mix = static_mix(asked, runner, store, costs, figures["nominal"], themselves_read)
            figures["static_mix"] = {"rank1": mix[0], "mAP": mix[1]}
        if answers is not None:
            write_answers(answers, benchmark.identify(samples), found, runner.exit_names)
        figures["notes"] = _notes(samples, runner, costs, budget) + _new_cameras(benchmark, samples, allowed, store)
        if not write_json(json, figures):
            _show(figures, store.count())
            if same := sum(id is not None for id in own):
                found_too = "may find themselves" if known else "aren't compared with themselves"
                output.print(f"note: {same} queries are entries of the gallery, and {found_too}")
    if summary.unreadable:
        sys.exit(3)


def _budget(
    mean_macs: str | None, mean_time: str | None, times: Path | None, policy: Policy | None, plan: Path | None
) -> float | None:
    """The budget; an option that would change nothing is a misunderstanding."""
    if mean_macs is not None and mean_time is not None:
        raise ValueError("a budget has one unit; give either --mean-macs or --mean-time")
    if plan is not None and (mean_macs is not None or mean_time is not None):
        raise ValueError("a plan has its own budget; give either --plan or a budget")
    if plan is not None and policy in ("steered", "chance"):
        raise ValueError(f"--policy {policy} follows no plan; choose quantile or thresholds, or leave --plan out")
    if times is not None and mean_time is None:
        raise ValueError("--times belongs to --mean-time; give that too, or leave it out")
    if mean_macs is not None:
        return options.parse_macs(mean_macs)
    return None if mean_time is None else options.parse_seconds(mean_time)


def _single_pictures(samples: Sequence[Sample], queries: Path, split: str) -> Sequence[Sample]:
    if not samples:
        raise ValueError(f"{queries} has no pictures in its split {split}; choose another one with --split")
    if several := [sample for sample in samples if len(sample.images) > 1]:
        raise ValueError(
            f"a stream asks with single pictures, and {several[0].images[0].name} is one of the "
            f"{len(several[0].images)} of a tracklet; dare evaluate scores tracklets"
        )
    return samples


def _identified(
    samples: Sequence[Sample],
    runner: Runner,
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
    runner: Runner,
    costs: ExitCosts | ExitTimes,
    budget: float | None,
    seconds: float,
    found: "list[Answer]",
) -> dict[str, Any]:
    exits = [answer.exit for answer in found if answer.exit >= 0]
    timed, each = isinstance(costs, ExitTimes), seconds / max(1, summary.queries)
    return {
        "queries": summary.queries,
        "unreadable": summary.unreadable,
        "runner": runner.description,
        "exits": dict(zip(runner.exit_names, summary.left, strict=True)),
        "unit": "seconds" if timed else "multiply-adds",
        "costs": list(costs.median if isinstance(costs, ExitTimes) else costs.macs),
        "costs_source": costs.source,
        "budget": budget,
        "spent": _number(each if timed else summary.mean_macs),
        "nominal": _number(costs.mean(exits)),
        "mean_macs": _number(summary.mean_macs),
        "seconds_per_query": _number(each),
        "reading_seconds": _number(sum(answer.reading for answer in found) / max(1, summary.queries)),
        "scored": summary.scored,
        "rank1": _number(summary.rank1),
        "mAP": _number(summary.mean_average_precision),
        "static_mix": None,
    }


def _notes(samples: Sequence[Sample], runner: Runner, costs: ExitCosts | ExitTimes, budget: float | None) -> list[str]:
    """What a reader of the figures should know."""
    from dare.anytime.budgets import beyond

    return list(filter(None, [beyond(costs, budget) if budget else "", trained_on(samples, runner.seen)]))


def _new_cameras(benchmark: Benchmark, samples: Sequence[Sample], allowed: str, store: "LanceGallery") -> list[str]:
    """A camera may be new to a gallery, or misspelt: then its own entries are not left out."""
    if allowed == "all":
        return []
    numbers = sorted({sample.camera for sample in samples})
    missing = unknown(
        "camera", [benchmark.camera_names.get(number, str(number)) for number in numbers], store.cameras()
    )
    return [f"{missing}; queries of such cameras are compared with all entries"] if missing else []


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


def _show(figures: dict[str, Any], entries: int) -> None:
    queries = figures["queries"]
    output.print(f"{queries} queries, {entries} gallery entries, compared with {figures['allowed']}")
    time_unit = figures["unit"] == "seconds"

    def cost(value: float) -> str:
        return f"{1000 * value:.2f} ms" if time_unit else mega(value)

    show_table(
        ("exit", "queries", "share", "time" if time_unit else "multiply-adds"),
        (
            (name, str(left), f"{100 * left / max(1, queries):.1f} %", cost(each))
            for (name, left), each in zip(figures["exits"].items(), figures["costs"], strict=True)
        ),
    )
    if queries:
        budget = figures["budget"]
        against = f", budget {cost(budget)} ({100 * (figures['spent'] / budget - 1):+.2f} %)" if budget else ""
        full = f"{100 * figures['nominal'] / figures['costs'][-1]:.1f} % of the full network"
        measured = f"wall clock per query: {1000 * figures['seconds_per_query']:.2f} ms, reading and search included"
        if time_unit:
            output.print(f"{measured}{against}")
            output.print(f"nominal, by the calibrated times: {cost(figures['nominal'])}, {full}")
            _warn_of_other_times(figures)
        else:
            output.print(f"spent per query: {cost(figures['spent'])}{against}, {full}")
            output.print(measured)
    if figures["scored"]:
        _show_accuracy(figures)
    else:
        output.print("accuracy: unknown, no query with a known person has a valid match")
    output.print(f"costs: {figures['costs_source']}")
    for note in figures["notes"]:
        output.print(f"note: {one_line(note)}")
    if figures["unreadable"]:
        output.print(f"note: {figures['unreadable']} pictures could not be read")


def _warn_of_other_times(figures: dict[str, Any]) -> None:
    real, nominal, reading = figures["seconds_per_query"], figures["nominal"], figures["reading_seconds"]
    if abs(real / nominal - 1) > NOTICEABLE:
        output.print(
            f"warning: a query took {1000 * real:.2f} ms, not {1000 * nominal:.2f} ms as calibrated: reading took "
            f"{1000 * reading:.2f} ms, the rest {(real - reading) / nominal:.1f} times the calibrated time; other work "
            "on the machine, other threads or micro-batches do that. Calibrate again as it will run"
        )


def _show_accuracy(figures: dict[str, Any]) -> None:
    """Beside that of the static mix."""
    mix = figures["static_mix"]
    accuracy = f"rank-1 {100 * figures['rank1']:.1f}, mAP {100 * figures['mAP']:.1f}"
    output.print(f"{accuracy} by the official protocol, over {figures['scored']} queries with a valid match")
    output.print(f"static mix of the same cost: rank-1 {100 * mix['rank1']:.1f}, mAP {100 * mix['mAP']:.1f}")
    better = [name for key, name in (("rank1", "rank-1"), ("mAP", "mAP")) if mix[key] > figures[key]]
    if better:
        output.print(f"note: for {' and '.join(better)}, letting random queries leave early would have been better")
