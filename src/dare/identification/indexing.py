"""Pictures into a gallery: embedded and added part by part; what is there already is skipped."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dare.datasets.sample import JUNK, UNKNOWN, Sample
from dare.evaluation.embedding import embed
from dare.gallery.entry import Entry
from dare.gallery.store import Gallery
from dare.identification.answer import check
from dare.images.reading import UnreadableImageError
from dare.runners.runner import Runner

PART = 512
"""Pictures that are added at once, and kept from then on."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """What was done with pictures.

    Attributes:
        added: how many were embedded and added, or replaced.
        there: how many were in the gallery already.
        junk: how many were left out because they show nobody.
        failed: those that cannot be read.
        finished: False if it was stopped before the end.
    """

    added: int
    there: int
    junk: int
    failed: tuple[UnreadableImageError, ...]
    finished: bool


def index(
    gallery: Gallery,
    runner: Runner,
    samples: Sequence[Sample],
    *,
    root: Path,
    prefix: str = "",
    cameras_known: bool = True,
    names: Mapping[int, str] | None = None,
    camera_names: Mapping[int, str] | None = None,
    replace: bool = False,
    batch_size: int = 64,
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Indexed:
    """Embed samples and add them. Each part that was added is kept; a later call goes on with the rest.

    Args:
        gallery, runner: of one model.
        samples: people that are `UNKNOWN` become None, `JUNK` is left out.
        root: the folder that ids are relative to.
        prefix: put before ids, to tell apart pictures of one name from two places.
        cameras_known: False drops the samples' camera numbers.
        names, camera_names: of people and cameras, as those of a `Benchmark`.
        replace: embed also what is there already.
        batch_size: pictures that are run together.
        workers: as of `dare.embed`.
        on_progress: called with samples done and in all.
        should_stop: asked between parts.

    Raises:
        MismatchError: the gallery is of another model.
        ValueError: an id is there already, from another file.
    """
    check(runner, gallery)
    kept = [sample for sample in samples if sample.person != JUNK]
    entries: dict[Sample, Entry] = {}
    failed: list[UnreadableImageError] = []
    for sample in kept:
        path = sample.images[0]
        person = None if sample.person == UNKNOWN else sample.person
        camera = sample.camera if cameras_known else None
        id, name = prefix + path.relative_to(root).as_posix(), (names or {}).get(sample.person, "")
        place = (camera_names or {}).get(sample.camera, "") if cameras_known else ""
        try:
            entries[sample] = Entry(id, person, camera, sample.time, str(path.resolve()), name, place)
        except ValueError as error:  # a path or a label that no entry can have
            failed.append(UnreadableImageError(path, str(error)))
    there = gallery.get(entry.id for entry in entries.values())
    if not replace:
        _refuse_others(entries.values(), there)
    todo = [sample for sample, entry in entries.items() if replace or there.get(entry.id) != entry]
    added = done = 0
    for start in range(0, len(todo), PART):
        if should_stop():
            break
        part = todo[start : start + PART]
        bad: list[UnreadableImageError] = []
        # If none of them can be read, there is nothing to add.
        with contextlib.suppress(UnreadableImageError):
            found = embed(runner, part, root=root, batch_size=batch_size, workers=workers, skipped=bad)
            unreadable = {problem.path for problem in bad}
            readable = [entries[sample] for sample in part if not unreadable.intersection(sample.images)]
            gallery.add(found.entries(), readable)
            added += len(readable)
        failed += bad
        done += len(part)
        on_progress(done, len(todo))
    return Indexed(added, len(entries) - len(todo), len(samples) - len(kept), tuple(failed), done == len(todo))


def _refuse_others(entries: Iterable[Entry], there: dict[str, Entry]) -> None:
    others = [entry for entry in entries if there.get(entry.id, entry).picture != entry.picture]
    if others:
        raise ValueError(
            f"the gallery has {others[0].id} from {there[others[0].id].picture}, not from {others[0].picture} "
            f"({len(others)} such pictures); add these under another prefix, or replace the old ones"
        )
