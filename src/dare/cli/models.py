"""`dare models`: the networks that come with the package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from dare.cli.terminal import mega, output, show_table

if TYPE_CHECKING:
    from dare.shipped.card import Engine, Interval
    from dare.shipped.network import ShippedNetwork


def models(
    name: Annotated[Path | None, Parameter(help="Show the whole card of this network, or of one in a folder.")] = None,
    /,
) -> None:
    """Show the networks that come with the package: data and terms, accuracy and time of every exit."""
    from dare.shipped.network import NETWORKS, ShippedNetwork, shipped_at, shipped_names

    names = shipped_names()
    if name is not None:
        network = shipped_at(name)
        if network is None:
            known = f"choose {', '.join(names)}" if names else "this version has none"
            raise ValueError(f"no network called {name} is shipped; {known}")
        _show_card(network)
        return
    if not names:
        output.print("no network is shipped with this version")
        return
    table = Table("network", "exit", "rank-1", "mAP", "multiply-adds", "ms")
    remarks = []
    for network in (ShippedNetwork.at(NETWORKS / name) for name in names):
        card, here = network.card, _engine_here(network)
        scores, times = card.accuracy[0], (here or card.engines[0]).milliseconds
        rows = zip(card.exits, scores.rank1, scores.mean_average_precision, card.macs, times, strict=True)
        for number, (exit, rank1, precision, macs, time) in enumerate(rows):
            cells = (f"{100 * rank1[0]:.1f}", f"{100 * precision[0]:.1f}", mega(macs), f"{time:.2f}")
            table.add_row(card.name if number == 0 else "", exit, *cells, end_section=exit == card.exits[-1])
        remarks.append(f"{card.name}: {card.summary}")
        remarks.append(f"  scored on {scores.benchmark}; {_in_words(here)}; on {card.measured_on}")
    output.print(table)
    for remark in remarks:
        output.print(remark)
    output.print("a name works wherever --model does; dare models NAME shows more, dare bench NAME measures here")


def _engine_here(network: "ShippedNetwork") -> "Engine | None":
    """What runs it on this machine if nothing else is asked for; None where no engine is installed."""
    from dare.runners.opening import shipped_engine

    try:
        found = shipped_engine(network.folder, None, None, "cpu")
    except ModuleNotFoundError:
        return None
    return None if found is None else found[1]


def _in_words(engine: "Engine | None") -> str:
    if engine is None:
        return "no engine is installed: pip install 'dare-reid[onnx]'"
    return f"times of {engine.runner} in {engine.precision}, which runs it here"


def _show_card(network: "ShippedNetwork") -> None:
    """All that the card says, and the thresholds and the plan that come with the network."""
    card, here = network.card, _engine_here(network)
    output.print(f"{card.name}: {card.summary}\nmodel {card.digest}")
    for title, words in card.words.items():
        output.print(f"{title}: {words}")
    for scores in card.accuracy:
        output.print(f"on {scores.benchmark}:")
        rows = zip(card.exits, scores.rank1, scores.mean_average_precision, card.macs, strict=True)
        show_table(
            ("exit", "rank-1", "mAP", "multiply-adds"),
            ((exit, *map(_with_interval, (rank1, precision)), mega(macs)) for exit, rank1, precision, macs in rows),
        )
    output.print("rank-1 and mAP in percent by the official protocol, in brackets the 95 % interval over people")
    table = Table("engine", *card.exits, "mAP lost")
    for engine in card.engines:
        name = f"{engine.runner} {engine.precision}{' *' if engine == here else ''}"
        table.add_row(name, *(f"{time:.2f}" for time in engine.milliseconds), f"{100 * max(engine.losses):.2f}")
    output.print(table)
    taken = "* runs it here" if here else _in_words(here)
    output.print(f"milliseconds of CPU until each exit, one picture on one thread, {card.measured_on}; {taken}")
    output.print("mAP lost: in points at the worst exit, against fp32 of torch, on people held out")
    _show_thresholds(network)
    _show_plan(network)


def _show_thresholds(network: "ShippedNetwork") -> None:
    from dare.shipped.card import THRESHOLDS
    from dare.verification.verifier import load_verifier

    if not network.has(THRESHOLDS):
        return
    verifier = load_verifier(network.folder, network.card.digest)
    show_table(
        ("threshold", "distance", "false matches, %", "missed, %"),
        (
            (at.name, f"{at.threshold.distance:.4g}", str(at.measured.false_match), str(at.measured.false_non_match))
            for at in verifier.exits
        ),
    )
    data, people = (verifier.about.get(name) for name in ("data", "other_people"))
    output.print(f"for {100 * verifier.false_match_rate:g} % false matches; measured on {people} people of {data}")


def _show_plan(network: "ShippedNetwork") -> None:
    from dare.anytime.records import load_plan
    from dare.shipped.card import PLAN

    if not network.has(PLAN):
        return
    card = network.card
    plan = load_plan(network.checked(PLAN), len(card.exits))
    shares = ", ".join(f"{exit} {100 * share:.0f} %" for exit, share in zip(card.exits, plan.shares, strict=True))
    mean = sum(share * macs for share, macs in zip(plan.shares, card.macs, strict=True))
    output.print(f"plan of a stream: {shares}, for {plan.about.get('for')} on {plan.about.get('data')}")
    output.print(f"its mean cost: {mega(mean)}, {100 * mean / card.macs[-1]:.0f} % of the full network")


def _with_interval(interval: "Interval") -> str:
    value, low, high = (100 * part for part in interval)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
