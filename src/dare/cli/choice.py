"""`dare choose-exits`: which exits to keep, and how many queries leave at each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.table import Table

from dare.cli.options import Layout, Models, Root, RunningOptions, parse_macs
from dare.cli.scored import Stored, scored
from dare.cli.terminal import output
from dare.files import check_writable

if TYPE_CHECKING:
    from dare.experiments.accuracy import Accuracy


def choose_exits(
    root: Root,
    /,
    *,
    model: Models,
    mean_macs: Annotated[str, Parameter(allow_leading_hyphen=True)],
    maximise: Annotated[Literal["rank-1", "mAP"], Parameter(name="--for")] = "rank-1",
    confidence: Literal["margin", "nearness"] = "margin",
    allowed: Literal["paper", "other-cameras"] | None = None,
    embeddings: Stored = None,
    out: Path | None = None,
    seed: int = 817,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """Choose which exits to keep and how many queries leave at each, within a budget, on people held out for it.

    Give it training people that were held out (`dare data hold-out`), never the test set that you will report.

    Parameters
    ----------
    mean_macs
        The budget: mean multiply-adds per query, such as 1.2G.
    maximise
        What is to be best.
    confidence
        What the thresholds are for.
    allowed
        What queries are compared with: other-cameras for the margin if not given, as in the paper for nearness.
    out
        JSON file to write, for `dare stream --plan`.
    seed
        Of the bootstrap.
    """
    from dare.anytime.records import PlanFile, save_plan
    from dare.experiments.choice import choose_exits as choose
    from dare.experiments.query_stream import Confidence, query_stream

    if out is not None:
        check_writable(out)
    allowed = allowed or ("other-cameras" if confidence == "margin" else "paper")
    if confidence == "nearness" and allowed != "paper":
        raise ValueError("thresholds of nearness are learnt by the paper's protocol only; give --allowed paper")
    if seed < 0:
        raise ValueError(f"a seed is at least 0, got {seed}")
    name: Confidence = "label-free margin" if allowed == "other-cameras" else confidence
    budget = parse_macs(mean_macs)
    evaluation, costs = scored(root, model, embeddings, layout, running)
    stream = query_stream(evaluation)
    if allowed == "other-cameras" and stream.label_free == "all":
        output.print("note: cameras are not known, so margins are of the whole gallery")
    choice = choose(stream, costs, budget, maximise=maximise, confidence=name, seed=seed)
    table = Table("plan", *stream.exits, "spent", "rank-1", "mAP")
    for label, plan in (("chosen", choice.chosen), ("best", choice.best), ("geometric", choice.geometric)):
        shares = (f"{100 * share:.0f}" if share else "-" for share in plan.shares)
        table.add_row(label, *shares, f"{plan.spent_macs / 1e6:,.1f} M", *_with_error(plan.accuracy))
    table.add_row("mix", *("" for _ in stream.exits), f"{budget / 1e6:,.1f} M", *_with_error(choice.static_mix))
    output.print(table)
    output.print("shares, rank-1 and mAP in percent; behind ± the standard error, people resampled")
    gain = choice.gain_over_static_mix
    better = f"rank-1 {gain.rank1}, mAP {gain.mean_average_precision} points"
    output.print(f"mix: the static mix of exits at the whole budget; chosen over it: {better}")
    output.print(f"{choice.candidates} shares tried on {len(stream)} queries; accuracies are of the people chosen on")
    if out is not None:
        chosen = choice.chosen
        label_free: Literal["all", "other-cameras"] = "all" if stream.label_free == "all" else "other-cameras"
        about = {"data": stream.benchmark, "for": maximise, "mean_macs": budget, "costs": costs.source}
        written = PlanFile(
            evaluation.query.model,
            tuple(chosen.shares.tolist()),
            tuple(chosen.thresholds.tolist()),
            confidence,
            "paper" if allowed == "paper" else label_free,
            evaluation.query.crops,
            about,
        )
        save_plan(out, written)
        output.print(f"written to {out}")


def _with_error(accuracy: "Accuracy") -> list[str]:
    pair = (accuracy.rank1, accuracy.mean_average_precision)
    return [f"{100 * one.value:.1f} ±{100 * one.error:.1f}" for one in pair]
