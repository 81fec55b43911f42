"""`dare choose-exits`: which exits to keep, and how many queries leave at each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.table import Table

from dare.cli import options
from dare.cli.terminal import check_outputs, mega, one_line, output
from dare.cli.vectors import SOURCE, SourceOptions
from dare.datasets import open_benchmark

if TYPE_CHECKING:
    from dare.experiments.accuracy import Accuracy


def choose_exits(
    root: options.Root,
    /,
    *,
    source: SourceOptions = SOURCE,
    mean_macs: Annotated[str, Parameter(allow_leading_hyphen=True)],
    maximise: Annotated[Literal["rank-1", "mAP"], Parameter(name="--for")] = "rank-1",
    allowed: Literal["other-cameras", "paper"] = "other-cameras",
    confidence: Literal["margin", "agreement"] = "margin",
    out: Path | None = None,
) -> None:
    """Choose which exits to keep and how many queries leave at each, within a budget, on people held out for it.

    Give it --model, and training people that were held out (`dare data hold-out`), never the test set that you will
    report.

    Parameters
    ----------
    mean_macs
        The budget: mean multiply-adds per query, such as 1.2G.
    maximise
        What is to be best.
    allowed
        Which entries a query is compared with: those of other-cameras, or those that the paper's protocol allows.
    confidence
        What says who leaves, as of `dare stream`.
    out
        JSON file to write, for `dare stream --plan`.
    """
    from dare.anytime.budgets import beyond
    from dare.anytime.records import PlanFile, save_plan
    from dare.experiments.choice import choose_exits as choose
    from dare.experiments.query_stream import Confidence, query_stream

    check_outputs(out)
    if (confidence, allowed) == ("agreement", "paper"):
        raise ValueError("an agreement is of the entries of other cameras; leave --allowed paper out")
    budget = options.parse_macs(mean_macs)
    if source.model is None:
        raise ValueError("what exits cost is the network's; give --model, beside --embeddings too")
    evaluation = source.evaluation(open_benchmark(root, source.layout))
    assert evaluation.costs is not None
    stream, costs, vectors = query_stream(evaluation), evaluation.costs, evaluation.query
    if allowed == "other-cameras" and stream.label_free == "all":
        output.print("note: cameras are not known, so lists are taken from the whole gallery")
    by: Confidence = "margin" if allowed == "paper" else "label-free margin"
    if confidence == "agreement":
        by = "agreement"
    choice = choose(stream, costs, budget, maximise=maximise, confidence=by)
    table = Table("plan", *stream.exits, "spent", "rank-1", "mAP")
    for label, plan in (("chosen", choice.chosen), ("best", choice.best), ("geometric", choice.geometric)):
        shares = (f"{100 * share:.0f}" if share else "-" for share in plan.shares)
        table.add_row(label, *shares, mega(plan.spent_macs), *_with_error(plan.accuracy))
    table.add_row("mix", *("" for _ in stream.exits), mega(budget), *_with_error(choice.static_mix))
    output.print(table)
    output.print("shares, rank-1 and mAP in percent; after ± the standard error, people resampled")
    gain = choice.gain_over_static_mix
    better = f"rank-1 {gain.rank1}, mAP {gain.mean_average_precision} points"
    output.print(f"mix: the static mix of exits at the whole budget; chosen over it: {better}")
    output.print(
        f"{choice.candidates} plans tried on {len(stream)} queries; accuracies are of the people they were chosen on"
    )
    for note in filter(None, (beyond(costs, budget), *evaluation.notes)):
        output.print(f"note: {one_line(note)}")
    if out is not None:
        chosen = choice.chosen
        written = PlanFile(
            vectors.model,
            tuple(chosen.shares.tolist()),
            tuple(chosen.thresholds.tolist()),
            confidence,
            "paper" if allowed == "paper" else stream.label_free,
            vectors.crops,
            {"data": stream.benchmark, "for": maximise, "mean_macs": budget, "costs": costs.source}
            | ({"note": evaluation.trained_on} if evaluation.trained_on else {}),
        )
        save_plan(out, written)
        output.print(f"written to {out}")


def _with_error(accuracy: "Accuracy") -> list[str]:
    pair = (accuracy.rank1, accuracy.mean_average_precision)
    return [f"{100 * one.value:.1f} ±{100 * one.error:.1f}" for one in pair]
