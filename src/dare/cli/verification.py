"""`dare threshold` and `dare compare`: is this the same person?"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from dare.cli import options
from dare.cli.search import exit_number
from dare.cli.terminal import check_outputs, one_line, output, progress, write_json
from dare.cli.vectors import SOURCE, SourceOptions
from dare.datasets import open_benchmark

if TYPE_CHECKING:
    from dare.verification.rates import Errors
    from dare.verification.verifier import Verifier


def threshold(
    root: options.Root,
    /,
    *,
    source: SourceOptions = SOURCE,
    false_match_rate: float = 0.001,
    distance: Literal["euclidean", "cosine"] = "euclidean",
    out: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Find the distance below which two pictures show the same person, for each exit, and measure its errors.

    It is found on half of the people among the queries and the gallery, and measured on the others: expect what was
    measured. Give it people that the network was not trained on.

    Parameters
    ----------
    false_match_rate
        The share of pairs of different people that may be taken for one person.
    distance
        euclidean, which DaRe is trained for; cosine scales vectors to length 1 first. Thresholds are Euclidean
        distances either way.
    out
        JSON file to write, for `dare compare --thresholds`.
    plot
        Drawing to write, of both kinds of pairs and of the errors: NAME.png and NAME.svg.
    """
    from dare.experiments.plots import new_figure, write_errors
    from dare.verification.rates import check_rate
    from dare.verification.verifier import check_known, save_verifier
    from dare.verification.verify import check_people, fit_verifier

    source.check()
    check_rate(false_match_rate)
    check_outputs(out, plot)
    if plot is not None:
        new_figure(1, 1)  # raises without matplotlib, before there is any work
    benchmark = open_benchmark(root, source.layout)
    check_people([sample.person for sample in benchmark.query])
    evaluation = source.evaluation(benchmark, distance)
    if out is not None:
        check_known(evaluation.query.model)
    with progress() as show:
        verifier = fit_verifier(
            evaluation,
            false_match_rate=false_match_rate,
            on_progress=lambda done, total: show("exits", done, total),
        )
    written: list[Path] = []
    if out is not None:
        save_verifier(out, verifier)
        written.append(out)
    if plot is not None:
        written += write_errors(verifier, plot)
    _show(verifier)
    output.print(f"compared by {evaluation.compared}")
    for note in (*evaluation.notes, *verifier.notes):
        output.print(f"note: {note}")
    for path in written:
        output.print(f"written to {path}")


def compare(
    first: Path,
    second: Path,
    /,
    *,
    model: options.ModelPaths,
    thresholds: Path | None = None,
    exit: str | None = None,
    prior: float | None = None,
    json: options.JsonOut = None,
    engine: options.EngineOptions = options.ENGINE,
) -> None:
    """Say whether two pictures show the same person.

    Yes if their distance is below the threshold, which was found for a rate of false matches. The probability answers
    another question: how likely they show one person, given the prior. So it may well be above a half where the answer
    is no.

    Parameters
    ----------
    first
        Picture file; it leaves at --exit.
    second
        Picture file to compare it with; where exits share one space it goes through the whole network.
    thresholds
        What `dare threshold --out` wrote for this network; a shipped network brings its own.
    exit
        Compare there: its number, counted from 1, or its name; the last one if not given.
    prior
        How likely the two show one person before anybody looks; what the file says (0.5) if not given.
    """
    from dare.shipped.network import shipped_at
    from dare.verification.rates import check_prior
    from dare.verification.verifier import load_verifier
    from dare.verification.verify import compare as compare_pictures

    if prior is not None:
        check_prior(prior)
    check_outputs(json)
    if thresholds is None and not (len(model) == 1 and shipped_at(model[0])):
        raise ValueError("only shipped networks bring thresholds; give --thresholds, which dare threshold --out writes")
    runner = engine.open(model)
    verifier = load_verifier(thresholds or model[0], runner.digest)
    number = -1 if exit is None else exit_number(exit, runner.exit_names)
    verdict = compare_pictures(first, second, runner, verifier, exit=number, prior=prior)
    name, second_name = (verifier.exits[exit].name for exit in verifier.exits_of_pair(verdict.exit))
    rate = verifier.false_match_rate
    names = {"exit_name": name, "second_exit_name": second_name, "false_match_rate": rate}
    if write_json(json, {"first": str(first), "second": str(second), **asdict(verdict), **names}):
        return
    answer = "the same person" if verdict.same else "not the same person"
    side = "below" if verdict.same else "not below"
    against = "" if second_name == name else f" of the first against {second_name} of the second"
    output.print(f"{one_line(first)}, {one_line(second)}: {answer}")
    output.print(
        f"{name}{against}: distance {verdict.distance:.4g}, {side} the threshold {verdict.threshold:.4g} for "
        f"{100 * rate:g} % false matches"
    )
    contrary = (verdict.probability > 0.5) != verdict.same
    also = "; the threshold asks for fewer false matches than a probability of 0.5 would" if contrary else ""
    output.print(f"probability {_probability(verdict.probability)}, from a prior of {verdict.prior:g}{also}")


def _probability(value: float) -> str:
    """Never 0 or 1, as none is."""
    return f"{value:.3g}" if value < 0.999 else f"1 - {1 - value:.1g}"


def _show(verifier: "Verifier") -> None:
    table = Table("exit", "people", "threshold", "false matches", "missed", "equal\nerror")
    for at in verifier.exits:
        found = at.threshold
        line = f"{found.distance:.4g}\n[{found.low:.4g}, {found.high:.4g}]"
        table.add_row(at.name, "found on", line, *_errors(at.fitted))
        table.add_row("", "others", "", *_errors(at.measured), end_section=True)
    output.print(table)
    first = verifier.exits[0]
    output.print(
        f"found on {first.fitted.people} people, {first.fitted.false_match.pairs:,} impostor and "
        f"{first.fitted.false_non_match.pairs:,} genuine pairs; measured on {first.measured.people} others, "
        f"{first.measured.false_match.pairs:,} and {first.measured.false_non_match.pairs:,}"
    )
    output.print(
        "rates in percent of the pairs, in brackets the 95 % interval over people; "
        "false matches: of two people; missed: of one person at two cameras"
    )
    errors = ", ".join(f"{at.name} {100 * at.calibration_error:.2f}" for at in verifier.exits)
    output.print(f"calibration error on the others, at a prior of {verifier.prior:g}, in points: {errors}")


def _errors(errors: "Errors") -> tuple[str, ...]:
    rates = (str(rate).replace(" ", "\n", 1) for rate in (errors.false_match, errors.false_non_match))
    return *rates, f"{100 * errors.equal_error:.2f}"
