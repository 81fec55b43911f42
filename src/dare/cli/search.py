"""`dare search`: who is on these pictures?"""

import math
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dare.cli import options
from dare.cli.calibration import TimesFile, exit_times
from dare.cli.galleries import GalleryFolder, MovedModels, opened, unknown
from dare.cli.terminal import check_outputs, console, mega, one_line, output, write_json
from dare.datasets.listing import seconds_since_1970
from dare.gallery.entry import Entry, Where
from dare.images.reading import UnreadableImageError
from dare.runners.runner import Runner

if TYPE_CHECKING:
    from dare.gallery.lance import LanceGallery
    from dare.identification.answer import Answer


def search(
    gallery: GalleryFolder,
    /,
    *query: Path,
    deadline: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    allow_late: Annotated[bool, options.FLAG] = False,
    times: TimesFile = None,
    exit: str | None = None,
    count: options.Positive = 10,
    camera: Annotated[
        list[str] | None, Parameter(negative="", help="Look at this camera only; may be given several times.")
    ] = None,
    not_camera: Annotated[
        list[str] | None, Parameter(negative="", help="Leave out this camera; may be given several times.")
    ] = None,
    person: Annotated[
        list[str] | None, Parameter(negative="", help="Look at this person only; may be given several times.")
    ] = None,
    since: str | None = None,
    until: Annotated[str | None, Parameter(help="Look at entries up to this time only; as --since.")] = None,
    json: options.JsonOut = None,
    html: Path | None = None,
    model: MovedModels = None,
    engine: options.EngineOptions = options.ENGINE,
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
    allow_late
        With --deadline: answer from the first exit even if it is too late.
    exit
        Leave there: its number, counted from 1, or its name, such as fusion.
    count
        Entries per answer.
    since
        Look at entries from this time on only: seconds since 1970, or like 2024-05-31T14:00:00+02:00.
    html
        Page to write, with pictures.
    """
    from dare.identification.answer import warm_up

    if not query:
        raise ValueError("no picture to search for; give at least one")
    if deadline is not None and exit is not None:
        raise ValueError("--deadline chooses the exit itself; give either --deadline or --exit")
    if deadline is None and (allow_late or times is not None):
        raise ValueError("--allow-late and --times belong to --deadline; give that too, or leave them out")
    within = None if deadline is None else options.parse_seconds(deadline)
    check_outputs(json, html)
    settings: dict[str, Any] = {"count": count, "where": _where(camera, not_camera, person, since, until)}
    with opened(gallery, model, engine) as (store, runner):
        _check_there(store, person or (), [*(camera or ()), *(not_camera or ())])
        leave_at = None if exit is None else exit_number(exit, runner.exit_names)
        last = len(runner.exit_names) - 1
        warm_up(runner, store, 0 if within is not None else last if leave_at is None else leave_at)
        measured = None if within is None else exit_times(times, runner, store, settings)
        if leave_at is None:
            settings |= {"deadline": within, "times": measured, "allow_late": allow_late}
        given = _ask(query, runner, store, leave_at, engine.workers, settings)
        found = [(path, answer) for path, answer in zip(query, given, strict=True) if not answer.problem]
        for problem in (answer.problem for answer in given if answer.problem):
            console.print(f"left out: {one_line(problem)}")
        if not write_json(json, [_figures(path, answer, runner, store) for path, answer in found]):
            for path, answer in found:
                _show(path, answer, runner, store)
            if measured:
                output.print(f"times: {measured.source}")
        if html is not None:
            from dare.pages.page import write_search_page

            write_search_page(html, found, store, runner.exit_names)
            console.print(f"page: {html}")
    if len(found) < len(query):
        sys.exit(3)


def _ask(
    queries: Sequence[Path],
    runner: Runner,
    store: "LanceGallery",
    leave_at: int | None,
    workers: int,
    settings: dict[str, Any],
) -> "list[Answer]":
    """An answer to each picture; to one that cannot be read, what is wrong with it."""
    from dare.identification.answer import Answer, answers, identify

    def ask(path: Path) -> Answer:
        try:
            if leave_at is None:
                return identify(path, runner, store, **settings)
            return next(answers(path, runner, store, first=leave_at, **settings))
        except UnreadableImageError as problem:
            return Answer.unreadable(problem, 0.0)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(ask, queries))


def exit_number(exit: str, names: Sequence[str]) -> int:
    """An exit, counted from 0, by its number counted from 1 or its name."""
    if exit.isdecimal() and 1 <= int(exit) <= len(names):
        return int(exit) - 1
    if exit in names:
        return list(names).index(exit)
    known = ", ".join(f"{number} ({name})" for number, name in enumerate(names, start=1))
    raise ValueError(f"there is no exit {exit!r}; choose {known}")


def _where(
    cameras: list[str] | None,
    not_cameras: list[str] | None,
    people: list[str] | None,
    since: str | None,
    until: str | None,
) -> Where | None:
    where = Where(
        cameras=tuple(cameras) if cameras else None,
        not_cameras=tuple(not_cameras or ()),
        people=tuple(people) if people else None,
        since=None if since is None else _moment(since),
        until=None if until is None else _moment(until),
    )
    return None if where == Where() else where


def _check_there(store: "LanceGallery", people: Sequence[str], cameras: Sequence[str]) -> None:
    """Refuse people and cameras that the gallery doesn't have: a misspelt name would find nothing, or all."""
    for kind, asked, known in (("person", people, store.people), ("camera", cameras, store.cameras)):
        if missing := unknown(kind, asked, known() if asked else {}):
            raise ValueError(missing)


def _moment(text: str) -> float:
    if re.fullmatch(r"\d{4}", text):
        raise ValueError(f"{text} would mean seconds since 1970; for the year write {text}-01-01")
    return seconds_since_1970(text)


def _show(path: Path, answer: "Answer", runner: Runner, store: "LanceGallery") -> None:
    late = "" if answer.deadline_met else ", too late"
    cost = f"{mega(answer.macs)} multiply-adds, {1000 * answer.seconds:.1f} ms{late}"
    output.print(f"{one_line(path)}: {runner.exit_names[answer.exit]}, {cost}, confidence {answer.confidence:.3g}")
    if not answer.hits.ids.size:
        output.print("  nobody to compare with")
    for rank, (entry, distance) in enumerate(_listed(answer, store), start=1):
        person = entry.name or ("unknown" if entry.person is None else str(entry.person))
        camera = entry.camera_name or ("unknown" if entry.camera is None else str(entry.camera))
        who = f"person {one_line(person):7}  camera {one_line(camera):7}"
        output.print(f"{rank:4}. {distance:8.3f}  {who}  {one_line(entry.id)}")


def _listed(answer: "Answer", store: "LanceGallery") -> list[tuple[Entry, float]]:
    """The entries of an answer with their distances; one that was forgotten meanwhile is passed over."""
    ids, distances = answer.hits.ids[0].tolist(), answer.hits.distances[0].tolist()
    entries = store.get(ids)
    return [(entries[id], distance) for id, distance in zip(ids, distances, strict=True) if id in entries]


def _figures(path: Path, answer: "Answer", runner: Runner, store: "LanceGallery") -> dict[str, Any]:
    hits = [
        {
            "id": entry.id,
            "person": entry.name or entry.person,
            "name": entry.name,
            "camera": entry.camera_name or entry.camera,
            "camera_name": entry.camera_name,
            "time": entry.time,
            "distance": distance,
        }
        for entry, distance in _listed(answer, store)
    ]
    return {
        "query": str(path),
        "exit": answer.exit,
        "exit_name": runner.exit_names[answer.exit],
        "macs": answer.macs,
        "macs_source": runner.costs.source,
        "seconds": answer.seconds,
        "deadline_met": answer.deadline_met,
        "confidence": answer.confidence if math.isfinite(answer.confidence) else None,
        "hits": hits,
    }
