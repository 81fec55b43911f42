"""`dare index` and `dare forget`, and opening a gallery with its network."""

import difflib
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace as replaced
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dare.cli import options
from dare.cli.terminal import console, one_line, output, progress, say, stop_on_signal
from dare.datasets import UNKNOWN, open_benchmark
from dare.datasets.listing import in_order, label_number
from dare.runners.runner import Runner

if TYPE_CHECKING:
    from dare.gallery.lance import LanceGallery

SHOWN = 5
"""Names of people or cameras that are listed where one is missing."""

GalleryFolder = Annotated[Path, Parameter(help="Folder of a gallery.")]
MovedModels = Annotated[
    list[Path] | None,
    Parameter(
        name="--model",
        negative="",
        help="Where the gallery's network is now, if it was moved; a shipped network's name will do. It must be the "
        "same network.",
    ),
]


def index(
    gallery: GalleryFolder,
    /,
    *,
    model: options.ModelPaths | None = None,
    images: options.Queried,
    split: Annotated[list[options.Split] | None, options.FLAG] = None,
    prefix: str = "",
    no_people: Annotated[bool, options.FLAG] = False,
    replace: Annotated[bool, options.FLAG] = False,
    batch_size: options.BatchSize = 64,
    layout: options.Layout = None,
    engine: options.EngineOptions = options.ENGINE,
) -> None:
    """Embed pictures at every exit and add them to a gallery, which is made if it doesn't exist.

    Pictures that are there already are passed over, so run it again after an interruption. Pictures that cannot be
    read are named and left out; the exit status is 3 then. To make a gallery, give --model; it remembers its network.

    Parameters
    ----------
    split
        Which pictures of a data set with splits; the gallery if not given.
    prefix
        Put before the ids of the pictures, which are their paths below the folder.
    no_people
        Treat the people in the pictures as unknown.
    replace
        Also embed and add what is there already.
    """
    from dare.gallery.folder import DESCRIPTION
    from dare.identification.indexing import index as index_samples
    from dare.identification.opening import create_with_network, open_with_network

    benchmark = open_benchmark(images, layout, unlabelled=True)
    say(benchmark.notes)
    samples = [sample for name in split or ("gallery",) for sample in getattr(benchmark, name)]
    if no_people:
        samples = [replaced(sample, person=UNKNOWN) for sample in samples]
    is_new = not (gallery / DESCRIPTION).exists()  # one whose making was cut short is made again
    store, runner = (create_with_network if is_new else open_with_network)(gallery, model, engine.open)
    try:
        store.take_lock()
        with progress() as show, stop_on_signal() as stopped:
            done = index_samples(
                store,
                runner,
                samples,
                root=benchmark.root,
                prefix=prefix,
                cameras_known=benchmark.cameras_known,
                names=benchmark.names,
                camera_names=benchmark.camera_names,
                replace=replace,
                batch_size=batch_size,
                workers=engine.workers,
                on_progress=lambda done, total: show("indexing", done, total),
                should_stop=stopped,
            )
        for problem in done.failed:
            console.print(f"left out: {one_line(problem)}")
        counts = f"{done.added} added, {done.there} there already, {len(done.failed)} unreadable"
        output.print(f"{counts}, {done.junk} junk; {store.count()} entries in {gallery}")
        is_new = is_new and done.finished
    finally:
        store.close()
        if is_new and not store.count():
            shutil.rmtree(gallery)  # nothing came of it
    if not done.finished:
        console.print("dare: stopped before the end; run it again to go on")
        sys.exit(130)
    if done.failed:
        sys.exit(3)


def forget(
    gallery: GalleryFolder,
    /,
    *,
    person: Annotated[list[str] | None, options.FLAG] = None,
    image: Annotated[list[str] | None, options.FLAG] = None,
) -> None:
    """Remove people or pictures from a gallery, with every byte of their vectors, names and labels.

    The picture files themselves are not touched. What was removed or replaced earlier leaves the disk too. The exit
    status is 1 if one of those to forget was not there.

    Parameters
    ----------
    person
        A person's number or, where folders or labels are names, name; may be given several times.
    image
        The id of a picture, its path below the folder that was indexed; may be given several times.
    """
    from dare.gallery.opening import open_gallery

    if not person and not image:
        raise ValueError("nobody to forget; give --person or --image, each as often as needed")
    with closing(open_gallery(gallery)) as store:
        missing = [unknown("person", person or (), store.people()) if person else ""]
        pictures = sorted({*(image or ())} - store.get(image or ()).keys())
        missing += [f"the gallery has no picture {', '.join(pictures)}; check the spelling"] if pictures else []
        count = store.forget(people=person or (), ids=image or ())
        output.print(f"{count} entries forgotten, {store.count()} left in {gallery}")
    for problem in filter(None, missing):
        console.print(f"dare: {one_line(problem)}")
    if any(missing):
        sys.exit(1)


def unknown(kind: str, asked: Sequence[str], known: Mapping[int, str]) -> str:
    """What to say of people or cameras that a gallery doesn't have, with some that it has; "" if it has all."""
    missing = [name for name in asked if label_number(name) not in known]
    if not missing:
        return ""
    names = {name.casefold(): name for name in in_order(known.values())}
    like = [near for name in missing for near in difflib.get_close_matches(name.casefold(), names, SHOWN)]
    there = [names[near] for near in dict.fromkeys(like or names)]
    return f"the gallery has no {kind} {_some(missing, len(missing))}; it has {_some(there, len(known)) or 'none'}"


def _some(names: Sequence[str], count: int) -> str:
    shown = names[:SHOWN]
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")


@contextmanager
def opened(
    gallery: Path, model: Sequence[Path] | None, engine: options.Engine
) -> "Iterator[tuple[LanceGallery, Runner]]":
    """A gallery and its network; the gallery is closed in the end."""
    from dare.identification.opening import open_with_network

    store, runner = open_with_network(gallery, model, engine.open)
    with closing(store):
        yield store, runner
