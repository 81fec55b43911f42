"""`dare data`: draw, check and split data sets."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App

from dare.cli.options import FLAG, Layout, Root
from dare.cli.terminal import one_line, output, progress, say, show_table
from dare.datasets import open_benchmark

if TYPE_CHECKING:
    from dare.evaluation.checking import Check
    from dare.synthetic import Knobs

data_app = App(name="data", help="Draw, check and split data sets.")


@data_app.command
def synthetic(
    out: Path,
    /,
    *,
    size: Literal["tiny", "small", "standard"] = "tiny",
    seed: int = 1,
    set: Annotated[list[str] | None, FLAG] = None,
) -> None:
    """Draw the synthetic benchmark: people, cameras and crops in Market-1501's layout.

    Parameters
    ----------
    out
        Folder to make; it must not exist, or be empty.
    size
        tiny: about 2,600 pictures; small: about 7,000; standard: the size of Market-1501.
    seed
        The same seed draws the same pictures.
    set
        How hard the pictures are, as in --set camera_strength=0.3; may be given several times. docs/synthetic.md lists
        the knobs.
    """
    from dare.synthetic import SIZES, draw_benchmark

    knobs = _turned(SIZES[size], set or ())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that an unfinished folder is removed
    with progress() as show:
        count = draw_benchmark(
            out, size, seed=seed, knobs=knobs, on_progress=lambda done, total: show("drawing", done, total)
        )
    output.print(f"{count} pictures in {out}")


def _turned(knobs: "Knobs", settings: Sequence[str]) -> "Knobs":
    """Knobs with `name=value` replaced; `Knobs` itself refuses values out of range."""
    known = {field.name: field.type for field in fields(knobs)}
    given: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        name = name.replace("-", "_")
        if name not in known:
            raise ValueError(f"unknown knob {name}; choose {', '.join(known)}")
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"expected a number, such as --set {name}=1, got --set {setting}") from None
        given[name] = int(value) if known[name] in (int, "int") and value.is_integer() else value
    return replace(knobs, **given)


@data_app.command(name="check")
def check_data(root: Root, /, *, layout: Layout = None) -> None:
    """Show what a data set holds: people, cameras, pictures, oddities. Exit status 3 if pictures are unreadable."""
    from dare.evaluation.checking import check

    with progress() as show:
        found = check(root, layout, on_progress=lambda done, total: show("reading", done, total))
    benchmark = found.benchmark
    output.print(f"{root}: read as {benchmark.name}")
    _show_counts(found)
    for note in benchmark.notes:
        output.print(f"note: {one_line(note)}")
    for warning in found.warnings:
        output.print(f"warning: {warning}")
    if found.unmatched:
        output.print(f"note: {found.unmatched} queries have no valid match in the gallery")
    for problem in found.problems:
        output.print(f"unreadable: {one_line(problem)}")
    if found.problems:
        output.print(f"{len(found.problems)} unreadable pictures; training and embedding refuse them by default")
        sys.exit(3)


def _show_counts(found: "Check") -> None:
    splits, tracklets = found.splits.values(), found.has_tracklets
    unknown = None if found.benchmark.cameras_known else "-"
    rows: dict[str, list[Any]] = {
        "people": [split.people for split in splits],
        "cameras": [unknown or split.cameras for split in splits],
        "tracklets": [split.samples for split in splits],
        "images": [split.images for split in splits],
        "images per tracklet": [f"{split.images / max(1, split.samples):.1f}" for split in splits],
        "people seen by one camera only": [unknown or split.single_camera for split in splits],
        "people with one image only": [split.single_image for split in splits],
        f"{'junk tracklets' if tracklets else 'junk'} (person -1)": [split.junk for split in splits],
        f"{'distractor tracklets' if tracklets else 'distractors'} (person 0)": [split.distractors for split in splits],
    }
    shown = [name for name in rows if tracklets or name not in ("tracklets", "images per tracklet")]
    show_table(("", *found.splits), ((name, *map(str, rows[name])) for name in shown))


@data_app.command
def hold_out(root: Root, out: Path, /, *, people: int, seed: int = 0, layout: Layout = None) -> None:
    """Set training people aside to choose settings with, and write them as a data set of their own: a CSV file.

    Its queries are the first picture of each such person at each camera, its gallery their other pictures. It holds
    no test people.

    Parameters
    ----------
    out
        CSV file to write, in a folder above the pictures: it lists them by paths relative to itself.
    people
        Number of people to set aside.
    seed
        The same seed picks the same people.
    """
    from dare.datasets.holdout import hold_out as hold_out_people
    from dare.datasets.holdout import write_manifest

    benchmark = open_benchmark(root, layout)
    say(benchmark.notes)
    split = hold_out_people(benchmark, people, seed)
    write_manifest(split, out)
    counts = f"{len(split.train)} training pictures, {len(split.query)} queries, {len(split.gallery)} gallery entries"
    output.print(f"{counts}, in {out}")
