"""`dare search`: who is on these pictures?"""

import math
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dare.cli.calibration import TimesFile, exit_times
from dare.cli.galleries import GalleryFolder, OtherModels, open_with_network
from dare.cli.options import Engine, EngineOptions, parse_seconds
from dare.cli.terminal import STDOUT, console, one_line, output, write_json
from dare.files import check_writable

if TYPE_CHECKING:
    from dare.gallery.entry import Entry, Where
    from dare.gallery.lance import LanceGallery
    from dare.identification.answer import Answer
    from dare.runners.runner import Runner


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
    from dare.identification.answer import warm_up

    if not query:
        raise ValueError("give at least one picture to search for")
    if deadline is not None and exit is not None:
        raise ValueError("give either --deadline or --exit")
    if deadline is None and (allow_late or times is not None):
        raise ValueError("--allow-late and --times belong to --deadline")
    within = None if deadline is None else parse_seconds(deadline)
    for path in (json, html):
        if path not in (None, STDOUT):
            check_writable(path)
    where = _where(camera, not_camera, person, since, until)
    settings: dict[str, Any] = {"count": count, "where": where, "confidence": confidence}
    engine = engine or Engine()
    store, runner = open_with_network(gallery, model, engine)
    try:
        leave_at = None if exit is None else exit_number(exit, runner.exit_names)
        last = len(runner.exit_names) - 1
        warm_up(runner, store, 0 if within is not None else last if leave_at is None else leave_at)
        measured = None if within is None else exit_times(times, runner, store, settings)
        limits = {"deadline": within, "times": measured, "allow_late": allow_late}
        found = _ask(query, runner, store, leave_at, limits, settings, engine.workers)
        if json != STDOUT:
            for path, answer in found:
                _show(path, answer, runner, store)
            if measured:
                output.print(f"times reckoned with: {measured.source}")
        if json is not None:
            write_json(json, [_figures(path, answer, runner, store) for path, answer in found])
        if html is not None:
            from dare.pages.page import write_search_page

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
    workers: int,
) -> "list[tuple[Path, Answer]]":
    """Answers to the pictures that can be read."""
    from dare.identification.identify import answers, identify
    from dare.images.reading import UnreadableImageError

    def ask(path: Path) -> "Answer | UnreadableImageError":
        try:
            if leave_at is None:
                return identify(path, runner, store, **limits, **settings)
            return next(answers(path, runner, store, first=leave_at, **settings))
        except UnreadableImageError as problem:
            return problem

    found = []
    with ThreadPoolExecutor(workers) as pool:
        for path, answer in zip(queries, pool.map(ask, queries), strict=True):
            if isinstance(answer, UnreadableImageError):
                console.print(f"left out: {one_line(answer)}")
            else:
                found.append((path, answer))
    return found


def exit_number(exit: str, names: Sequence[str]) -> int:
    """An exit, counted from 0, by its number counted from 1 or its name."""
    if exit.isdecimal() and 1 <= int(exit) <= len(names):
        return int(exit) - 1
    if exit in names:
        return list(names).index(exit)
    known = ", ".join(f"{number} ({name})" for number, name in enumerate(names, start=1))
    raise ValueError(f"there is no exit {exit!r}; choose {known}")


def _where(
    cameras: list[int] | None,
    not_cameras: list[int] | None,
    people: list[str] | None,
    since: str | None,
    until: str | None,
) -> "Where | None":
    from dare.datasets.folder import label_number
    from dare.gallery.entry import Where

    where = Where(
        cameras=tuple(cameras) if cameras else None,
        not_cameras=tuple(not_cameras or ()),
        people=tuple(label_number(name) for name in people) if people else None,
        since=None if since is None else _moment(since),
        until=None if until is None else _moment(until),
    )
    return None if where == Where() else where


def _moment(text: str) -> float:
    from dare.datasets.folder import seconds_since_1970

    if re.fullmatch(r"\d{4}", text):
        raise ValueError(f"{text} would be read as seconds since 1970; for the year write {text}-01-01")
    return seconds_since_1970(text)


def _show(path: Path, answer: "Answer", runner: "Runner", store: "LanceGallery") -> None:
    late = "" if answer.deadline_met else ", too late"
    cost = f"{answer.macs / 1e6:,.1f} M multiply-adds, {1000 * answer.seconds:.1f} ms{late}"
    output.print(f"{one_line(path)}: {runner.exit_names[answer.exit]}, {cost}, confidence {answer.confidence:.3g}")
    if not answer.hits.ids.size:
        output.print("  nobody to be found")
    for rank, (entry, distance) in enumerate(_listed(answer, store), start=1):
        person = entry.name or ("unknown" if entry.person is None else str(entry.person))
        camera = "unknown" if entry.camera is None else str(entry.camera)
        who = f"person {one_line(person):7}  camera {camera:7}"
        output.print(f"{rank:4}. {distance:8.3f}  {who}  {one_line(entry.id)}")


def _listed(answer: "Answer", store: "LanceGallery") -> "list[tuple[Entry, float]]":
    """The entries of an answer with their distances; one that was forgotten meanwhile is passed over."""
    ids, distances = answer.hits.ids[0].tolist(), answer.hits.distances[0].tolist()
    entries = store.get(ids)
    return [(entries[id], distance) for id, distance in zip(ids, distances, strict=True) if id in entries]


def _figures(path: Path, answer: "Answer", runner: "Runner", store: "LanceGallery") -> dict[str, Any]:
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
                "id": entry.id,
                "person": entry.person,
                "name": entry.name,
                "camera": entry.camera,
                "time": entry.time,
                "distance": distance,
            }
            for entry, distance in _listed(answer, store)
        ],
    }
