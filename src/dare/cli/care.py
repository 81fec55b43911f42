"""`dare gallery`: who is in one, whether its files are as they were written, backups, names, old entries."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from dare.cli.galleries import GalleryFolder, unknown
from dare.cli.options import JsonOut, parse_age
from dare.cli.terminal import check_outputs, console, one_line, output, say, show_table, write_json
from dare.datasets.listing import normal_label

if TYPE_CHECKING:
    from dare.gallery.lance import LanceGallery
    from dare.gallery.seen import Seen

gallery_app = App(name="gallery", help="Take care of a gallery: see who is in it, verify, back up, rename, expire.")


@gallery_app.command
def info(gallery: GalleryFolder, /, *, json: JsonOut = None) -> None:
    """Show what a gallery holds: its network, entries per camera and day (UTC), size on disk, the last change."""
    from dare.gallery.log import Log, files_below
    from dare.gallery.seen import per_camera_and_day

    check_outputs(json)
    with _opened(gallery) as store:
        seen = per_camera_and_day(store)
        changes = Log(store.path).lines
        figures: dict[str, Any] = {
            "gallery": str(store.path),
            "network": list(store.model_path),
            "model": store.model,
            "exits": list(store.names),
            "space": store.space,
            "entries": store.count(),
            "people": len(store.people()),
            "bytes": sum(path.stat().st_size for path in files_below(store.path)),
            "changes": len(changes),
            "last_change": changes[-1].model_dump(include={"time", "who", "what", "entries"}) if changes else None,
            "seen": [_figures(one, "camera", "people") for one in seen],
        }
    if write_json(json, figures):
        return
    output.print(f"{one_line(gallery)}: {figures['entries']} entries of {figures['people']} known people")
    output.print(f"network {one_line(', '.join(store.model_path) or 'unknown')} ({store.model[:12]})")
    output.print(f"exits {', '.join(map(one_line, store.names))}")
    output.print(f"{figures['bytes'] / 1e6:,.1f} MB on disk")
    if changes:
        last = f"{changes[-1].what} by {changes[-1].who}, {changes[-1].time}"
        output.print(f"last of {len(changes)} changes: {one_line(last)}")
    rows = [(one.name or "unknown", one.day or "unknown", str(one.entries), str(len(one.others))) for one in seen]
    show_table(("camera", "day", "entries", "people"), [map(one_line, row) for row in rows])


@gallery_app.command
def people(gallery: GalleryFolder, /, *, json: JsonOut = None) -> None:
    """List the people in a gallery: how many entries each has, on which cameras, from when to when (UTC)."""
    from dare.gallery.seen import calendar, per_person

    check_outputs(json)
    with _opened(gallery) as store:
        seen = per_person(store)
    if write_json(json, [_figures(one, "person", "cameras") for one in seen]):
        return
    rows = [
        (
            one.name or "unknown",
            str(one.entries),
            ", ".join(dict.fromkeys(name or "unknown" for name in one.others)),
            calendar(one.first),
            calendar(one.last),
        )
        for one in seen
    ]
    show_table(("person", "entries", "cameras", "first", "last"), [map(one_line, row) for row in rows])


@gallery_app.command
def verify(gallery: GalleryFolder, /) -> None:
    """Compare every file with its checksum, read every entry, and check the log of changes.

    Others may write to the gallery meanwhile. The exit status is 1 if anything isn't as it was written.
    """
    from dare.gallery.care import verify as verified

    found = verified(gallery)
    say(found.notes)
    for problem in found.problems:
        console.print(f"dare: {one_line(problem)}")
    if found.problems:
        sys.exit(1)
    output.print(f"{found.files} files, {found.entries} entries and {found.changes} changes are as they were written")


@gallery_app.command
def backup(gallery: GalleryFolder, out: Path, /) -> None:
    """Copy a gallery as it is now into a new folder; others may write to it meanwhile.

    The copy is a gallery too. It has no bytes of entries that were removed or replaced. A damaged gallery is refused.
    """
    from dare.gallery.care import backup as back_up

    count = back_up(gallery, out)
    output.print(f"{count} entries of {gallery} copied to {out}")


@gallery_app.command
def restore(backup: Path, gallery: GalleryFolder, /) -> None:
    """Put a backup in a gallery's place, or where one was.

    What was forgotten or has expired since the backup was made is left out. The gallery's log knows what that is: if
    all else is lost, leave gallery.log in the folder.
    """
    from dare.gallery.care import restore as put_back

    count, left_out = put_back(backup, gallery)
    output.print(f"{count} entries in {gallery}, {left_out} of the backup left out")


@gallery_app.command
def expire(gallery: GalleryFolder, /, *, older_than: str) -> None:
    """Forget entries that are older than an age, with every byte of them. Entries without a time stay.

    Parameters
    ----------
    older_than
        30d, 12h, 90min or 2w.
    """
    before = time.time() - parse_age(older_than)
    with _opened(gallery) as store:
        count = store.forget(before=before)
        timeless = store.entries()["time"].null_count
        output.print(f"{count} entries forgotten, {store.count()} left in {gallery}, {timeless} of them without a time")


@gallery_app.command
def rename(gallery: GalleryFolder, person: str, name: str, /) -> None:
    """Give a person another name, or a number; the old one leaves every file but pictures' names and ids."""
    with _opened(gallery) as store:
        if not unknown("person", [name], store.people()):
            raise ValueError(f"{gallery} has a person {name} already; to make them one, use `dare gallery merge`")
        _relabel(store, [person], name)


@gallery_app.command
def merge(gallery: GalleryFolder, into: str, /, *others: str) -> None:
    """Make several people one: the first of those named."""
    if not others:
        raise ValueError("one person is nobody to merge; name those who are the same person, first the one to keep")
    with _opened(gallery) as store:
        _known(store, [into])
        _relabel(store, others, into)


def _relabel(store: "LanceGallery", people: Sequence[str], name: str) -> None:
    _known(store, people)
    count = store.relabel(dict.fromkeys(people, name))
    output.print(f"{count} entries are {one_line(normal_label(name))} now")


def _known(store: "LanceGallery", people: Sequence[str]) -> None:
    if problem := unknown("person", people, store.people()):
        raise ValueError(problem)


@contextmanager
def _opened(gallery: Path) -> "Iterator[LanceGallery]":
    from dare.gallery.opening import open_gallery

    with closing(open_gallery(gallery)) as store:
        yield store


def _figures(seen: "Seen", name: str, others: str) -> dict[str, object]:
    found = asdict(seen)
    of, day, others_of = found.pop("name"), found.pop("day"), found.pop("others")
    days = {"day": day or None} if name == "camera" else {}
    return {name: of or None, **days, **found, others: [other or None for other in others_of]}
