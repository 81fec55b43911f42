"""`dare data`: draw, check and split data sets."""

import signal
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from cyclopts import App
from rich.table import Table

from dare.cli.options import Layout, Root
from dare.cli.terminal import one_line, output, progress

data_app = App(name="data", help="Draw, look at, check and split data sets.")


@data_app.command
def synthetic(
    out: Path,
    /,
    *,
    size: Literal["tiny", "small", "standard"] = "tiny",
    seed: int = 1,
    set: dict[str, float] | None = None,
    processes: int | None = None,
) -> None:
    """Draw the synthetic benchmark: people, cameras and crops in Market-1501's layout.

    Parameters
    ----------
    out
        Folder to make; must not exist, or be empty.
    size
        tiny: about 2,600 pictures; small: about 7,000; standard: the size of Market-1501.
    seed
        The same seed draws the same pictures.
    set
        Knobs of difficulty, such as `--set.camera-strength 0.3`; docs/synthetic.md lists them.
    processes
        How many processes draw at once; one per core if not given.
    """
    from dare.synthetic import SIZES, draw_benchmark

    known = {field.name: field.type for field in fields(SIZES[size])}
    knobs: dict[str, Any] = {}
    for name, value in (set or {}).items():
        knob = name.replace("-", "_")
        if knob not in known:
            raise ValueError(f"unknown knob {name}; choose {', '.join(known)}")
        whole = known[knob] in (int, "int") and value.is_integer()  # `Knobs` refuses other values
        knobs[knob] = int(value) if whole else value
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that an unfinished folder is removed
    with progress() as show:
        count = draw_benchmark(
            out,
            size,
            seed=seed,
            knobs=replace(SIZES[size], **knobs),
            processes=processes,
            on_progress=lambda done, total: show("drawing", done, total),
        )
    output.print(f"{count} pictures in {out}")


@data_app.command(name="check")
def check_data(root: Root, /, *, layout: Layout = None) -> None:
    """Show what a data set holds: people, cameras, pictures, oddities, unreadable files."""
    from dare.evaluation.checking import check

    with progress() as show:
        found = check(root, layout, on_progress=lambda done, total: show("reading", done, total))
    benchmark = found.benchmark
    output.print(f"{root}: read as {benchmark.name}")
    table = Table("", *found.splits)
    splits = found.splits.values()
    unknown = None if benchmark.cameras_known else "-"
    table.add_row("people", *(str(split.people) for split in splits))
    table.add_row("cameras", *(unknown or str(split.cameras) for split in splits))
    if found.has_tracklets:
        table.add_row("tracklets", *(str(split.samples) for split in splits))
    table.add_row("images", *(str(split.images) for split in splits))
    if found.has_tracklets:
        table.add_row("images per tracklet", *(f"{split.images / max(1, split.samples):.1f}" for split in splits))
    table.add_row("people seen by one camera only", *(unknown or str(split.single_camera) for split in splits))
    table.add_row("people with one image only", *(str(split.single_image) for split in splits))
    junk, distractors = ("junk tracklets", "distractor tracklets") if found.has_tracklets else ("junk", "distractors")
    table.add_row(f"{junk} (person -1)", *(str(split.junk) for split in splits))
    table.add_row(f"{distractors} (person 0)", *(str(split.distractors) for split in splits))
    output.print(table)
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


@data_app.command
def hold_out(
    root: Root,
    out: Path,
    /,
    *,
    people: int,
    seed: int = 0,
    layout: Layout = None,
) -> None:
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
    from dare.datasets import open_benchmark
    from dare.datasets.holdout import hold_out as hold_out_people
    from dare.datasets.holdout import write_manifest

    split = hold_out_people(open_benchmark(root, layout), people, seed)
    write_manifest(split, out)
    counts = f"{len(split.train)} training pictures, {len(split.query)} queries, {len(split.gallery)} gallery entries"
    output.print(f"{counts}, in {out}")
