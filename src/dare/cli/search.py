"""`dare search`: who is on these pictures?"""

import math
import sys
from collections.abc import Sequence
from itertools import islice
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dare.cli import quantities
from dare.cli.galleries import GalleryFolder, OtherModels, open_with_network
from dare.cli.options import Engine, EngineOptions
from dare.cli.terminal import console, output
from dare.files import check_writable, replacing

if TYPE_CHECKING:
    from dare.answer import Answer
    from dare.anytime.costs import ExitTimes
    from dare.gallery.lance import LanceGallery
    from dare.gallery.store import Where
    from dare.runners.runner import Runner

STDOUT = Path("-")
REPEATS = 10

TimesFile = Annotated[Path | None, Parameter(help="What `dare calibrate --out` wrote; measured anew if not given.")]
JsonOut = Annotated[
    Path | None,
    Parameter(
        allow_leading_hyphen=True, help="Print JSON, or write it to the file that is named behind it (NAME.json)."
    ),
]


def search(
    gallery: GalleryFolder,
    /,
    *query: Path,
    deadline: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    exit: str | None = None,
    count: int = 10,
    confidence: Literal["margin", "nearness"] = "margin",
    camera: Annotated[list[int] | None, Parameter(negative="")] = None,
    not_camera: Annotated[list[int] | None, Parameter(negative="")] = None,
    person: Annotated[list[str] | None, Parameter(negative="")] = None,
    since: str | None = None,
    until: str | None = None,
    allow_late: Annotated[bool, Parameter(negative="")] = False,
    times: TimesFile = None,
    json: JsonOut = None,
    html: Path | None = None,
    model: OtherModels = None,
    engine: EngineOptions = None,
) -> None:
    """Find the people on pictures in a gallery: by the full network, at one exit, or within a deadline.

    A picture that cannot be read is named; the exit status is 3 then.

    Parameters
    ----------
    query
        Picture files.
    deadline
        Time for each picture, such as 40ms, reading it and searching the gallery included: the deepest answer that is
        ready by then. How long exits take is measured first, or read from --times.
    exit
        Leave there: its number, counted from 1, or its name, such as fusion.
    count
        Entries per answer.
    confidence
        How sure an answer is: its margin to the nearest other person, or its nearness.
    camera, not_camera, person
        Look at these cameras or people only, or at all cameras but these; each may be given several times.
    since, until
        Look at entries of this time only: seconds since 1970, or like 2024-05-31T14:00:00+02:00.
    allow_late
        Where even the first exit is too late, answer from it all the same.
    html
        Page to write, with pictures.
    """
    from dare.calibration import warm_up

    if not query:
        raise ValueError("give at least one picture to search for")
    if deadline is not None and exit is not None:
        raise ValueError("give either --deadline or --exit")
    within = None if deadline is None else quantities.seconds(deadline)
    for path in (json, html):
        if path not in (None, STDOUT):
            check_writable(path)
    where = _where(camera, not_camera, person, since, until)
    settings: dict[str, Any] = {"count": count, "where": where, "confidence": confidence}
    store, runner = open_with_network(gallery, model, engine or Engine())
    try:
        leave_at = None if exit is None else exit_number(exit, runner.exit_names)
        warm_up(runner, store)
        measured = None if within is None else exit_times(times, runner, store, settings)
        limits = {"deadline": within, "times": measured, "allow_late": allow_late}
        found = _ask(query, runner, store, leave_at, limits, settings)
        if json != STDOUT:
            for path, answer in found:
                _show(path, answer, runner)
            if measured:
                output.print(f"times reckoned with: {measured.source}")
        if json is not None:
            _write_json(json, [_figures(path, answer, runner) for path, answer in found])
        if html is not None:
            from dare.search_page import write_search_page

            write_search_page(html, found, store, runner.exit_names)
            console.print(f"page: {html}")
    finally:
        store.close()
    if len(found) < len(query):
        sys.exit(3)


def _ask(
    queries: Sequence[Path],
    runner: "Runner",
    store: "LanceGallery",
    leave_at: int | None,
    limits: dict[str, Any],
    settings: dict[str, Any],
) -> "list[tuple[Path, Answer]]":
    """Answers to the pictures that can be read."""
    from dare.identification import answers, identify
    from dare.images import UnreadableImageError

    found = []
    for path in queries:
        try:
            if leave_at is None:
                found.append((path, identify(path, runner, store, **limits, **settings)))
            else:
                found.append((path, next(islice(answers(path, runner, store, **settings), leave_at, None))))
        except UnreadableImageError as problem:
            console.print(f"left out: {problem}")
    return found


def exit_number(exit: str, names: Sequence[str]) -> int:
    """An exit, counted from 0, by its number counted from 1 or its name."""
    if exit.isdecimal() and 1 <= int(exit) <= len(names):
        return int(exit) - 1
    if exit in names:
        return list(names).index(exit)
    known = ", ".join(f"{number} ({name})" for number, name in enumerate(names, start=1))
    raise ValueError(f"there is no exit {exit!r}; choose {known}")


def exit_times(file: Path | None, runner: "Runner", store: "LanceGallery", settings: dict[str, Any]) -> "ExitTimes":
    """How long exits take, from a file or measured now, the search included."""
    from dare.calibration import load_times, measure_answers

    return load_times(file, runner) if file else measure_answers(runner, store, repeats=REPEATS, **settings)


def _where(
    cameras: list[int] | None,
    not_cameras: list[int] | None,
    people: list[str] | None,
    since: str | None,
    until: str | None,
) -> "Where | None":
    from dare.datasets.folder import label_number
    from dare.datasets.manifest import seconds_since_1970
    from dare.gallery.store import Where

    where = Where(
        cameras=tuple(cameras) if cameras else None,
        not_cameras=tuple(not_cameras or ()),
        people=tuple(label_number(name) for name in people) if people else None,
        since=None if since is None else seconds_since_1970(since),
        until=None if until is None else seconds_since_1970(until),
    )
    return None if where == Where() else where


def _show(path: Path, answer: "Answer", runner: "Runner") -> None:
    late = "" if answer.deadline_met else ", too late"
    cost = f"{answer.macs / 1e6:,.1f} M multiply-adds, {1000 * answer.seconds:.1f} ms{late}"
    output.print(f"{path}: {runner.exit_names[answer.exit]}, {cost}, confidence {answer.confidence:.3g}")
    hits = answer.hits
    if not hits.ids.size:
        output.print("  nobody to be found")
        return
    rows = zip(hits.ids[0], hits.people[0], hits.cameras[0], hits.distances[0], strict=True)
    for rank, (id, person, camera, distance) in enumerate(rows, start=1):
        output.print(f"{rank:4}. {distance:8.3f}  person {_known(person):7}  camera {_known(camera):7}  {id}")


def _known(label: int) -> str:
    return str(label) if label >= 0 else "unknown"


def _figures(path: Path, answer: "Answer", runner: "Runner") -> dict[str, Any]:
    hits = answer.hits
    return {
        "query": str(path),
        "exit": answer.exit,
        "exit_name": runner.exit_names[answer.exit],
        "macs": answer.macs,
        "macs_source": runner.costs.source,
        "seconds": answer.seconds,
        "deadline_met": answer.deadline_met,
        "confidence": answer.confidence if math.isfinite(answer.confidence) else None,
        "hits": [
            {
                "id": str(id),
                "person": int(person) if person >= 0 else None,
                "camera": int(camera) if camera >= 0 else None,
                "distance": float(distance),
            }
            for id, person, camera, distance in zip(
                hits.ids[0], hits.people[0], hits.cameras[0], hits.distances[0], strict=True
            )
        ],
    }


def _write_json(path: Path, figures: list[dict[str, Any]]) -> None:
    text = dumps(figures, indent=2)
    if path == STDOUT:
        print(text)
        return
    with replacing(path) as file:
        file.write((text + "\n").encode())
