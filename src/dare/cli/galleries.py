"""`dare index` and `dare forget`, and opening a gallery with its network."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from dare.cli.options import Engine, EngineOptions, Layout, Models, NoPeople, PicturesBelow
from dare.cli.terminal import console, one_line, output, progress, stop_on_signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dare.datasets import Sample
    from dare.gallery.lance import LanceGallery
    from dare.runners.runner import Runner

GalleryFolder = Annotated[Path, Parameter(help="Folder of a gallery.")]
OtherModels = Annotated[
    list[Path] | None,
    Parameter(
        name="--model",
        negative="",
        help="Where the gallery's network is now, if it was moved, or a shipped one's name; it must be the same one.",
    ),
]


def index(
    gallery: GalleryFolder,
    /,
    *,
    model: Models | None = None,
    images: PicturesBelow,
    split: Annotated[list[Literal["train", "query", "gallery"]] | None, Parameter(negative="")] = None,
    prefix: str = "",
    no_people: NoPeople = False,
    replace: Annotated[bool, Parameter(negative="")] = False,
    batch_size: Annotated[int, Parameter(help="Pictures that are run together.")] = 64,
    layout: Layout = None,
    engine: EngineOptions = None,
) -> None:
    """Embed pictures at every exit and add them to a gallery, which is made if it is not there.

    What is there already is passed over, so an interrupted call goes on when it is made again. Pictures that cannot be
    read are named and left out; the exit status is 3 then.

    Parameters
    ----------
    model
        Needed to make a gallery; one that is there remembers its own.
    split
        Which pictures of a data set with splits; the gallery if not given.
    prefix
        Put before the ids of the pictures, which are their paths below the folder.
    replace
        Embed and add also what is there already.
    """
    from dare.datasets import open_benchmark
    from dare.gallery.folder import DESCRIPTION
    from dare.identification.indexing import index as index_samples

    engine = engine or Engine()
    benchmark = open_benchmark(images, layout, unlabelled=True)
    samples = unlabelled([sample for name in split or ("gallery",) for sample in getattr(benchmark, name)], no_people)
    is_new = not (gallery / DESCRIPTION).exists()  # one whose making was cut short is made again
    store, runner = _open_or_create(gallery, model, engine, is_new)
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
        is_new = is_new and not store.count() and done.finished
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
    person: Annotated[list[str] | None, Parameter(negative="")] = None,
    image: Annotated[list[str] | None, Parameter(negative="")] = None,
) -> None:
    """Remove people or pictures from a gallery, with every byte of their vectors, names and labels.

    The picture files themselves are not touched. Bytes of what was removed or replaced before go too. The exit status
    is 1 if one of those to forget was not there.

    Parameters
    ----------
    person
        Their number or, where folders or labels are names, the name.
    image
        The id of a picture: its path below the folder that was indexed.
    """
    from dare.datasets.folder import label_number
    from dare.gallery.opening import open_gallery

    if not person and not image:
        raise ValueError("say whom to forget: --person or --image, each as often as needed")
    store = open_gallery(gallery)
    try:
        there, wanted = set(store.labels().people.tolist()), {name: label_number(name) for name in person or ()}
        missing = [name for name, number in wanted.items() if number not in there]
        missing += sorted({*(image or ())} - store.get(image or ()).keys())
        count = store.forget(people=wanted.values(), ids=image or ())
        output.print(f"{count} entries forgotten, {store.count()} left in {gallery}")
    finally:
        store.close()
    if missing:
        console.print(
            f"dare: nothing in the gallery was called {', '.join(map(one_line, missing))}; see how it is spelt"
        )
        sys.exit(1)


def open_with_network(gallery: Path, model: "Sequence[Path] | None", engine: Engine) -> "tuple[LanceGallery, Runner]":
    """A gallery and the network that its vectors came from."""
    from dare.gallery.lance import LanceGallery
    from dare.gallery.store import MismatchError
    from dare.retrieval.distances import another_model

    store = LanceGallery(gallery)
    try:
        paths = network_paths(store, model)
        missing = [path for path in paths if not path.exists()]
        if missing or not paths:
            where = missing[0] if missing else "an unknown place"
            raise FileNotFoundError(f"the gallery's network is not at {where} any more; say where it is with --model")
        runner = engine.open(paths)
        if runner.digest != store.model:
            advice = f"give the network that the gallery was made with, not {paths[0]}"
            raise MismatchError(another_model("the gallery holds vectors", store.model, runner.digest, advice))
    except BaseException:
        store.close()
        raise
    return store, runner


def network_paths(store: "LanceGallery", model: "Sequence[Path] | None") -> list[Path]:
    """Where a gallery's network is: as it is given, or as the gallery remembers it."""
    from dare.shipped.network import NETWORKS, is_name, located

    if model:
        return [located(path) for path in model]
    # Paths are remembered whole, so a name is a shipped network's, whatever the working directory holds.
    return [NETWORKS / path if is_name(path) else path for path in map(Path, store.model_path)]


def unlabelled(samples: "Sequence[Sample]", no_people: bool) -> "list[Sample]":
    """The samples; with `no_people` as if nobody knew whom they show."""
    from dataclasses import replace

    from dare.datasets import UNKNOWN

    return [replace(sample, person=UNKNOWN) for sample in samples] if no_people else list(samples)


def _open_or_create(
    gallery: Path, model: "Sequence[Path] | None", engine: Engine, is_new: bool
) -> "tuple[LanceGallery, Runner]":
    from dare.gallery.opening import create_gallery
    from dare.shipped.network import located

    if not is_new:
        return open_with_network(gallery, model, engine)
    if not model:
        raise ValueError(f"no gallery at {gallery}; give --model to make one")
    runner = engine.open(model)
    sizes = _sizes(runner)
    paths = [str(path.absolute() if located(path) == path else path) for path in model]
    made = create_gallery(
        gallery, model=runner.digest, dimensions=sizes, model_path=paths, names=runner.exit_names, space=runner.space
    )
    return made, runner


def _sizes(runner: "Runner") -> list[int]:
    import numpy as np

    size = runner.preparation
    blank = np.zeros((size.frames, 3, size.height, size.width), np.float32)
    return [vectors.shape[1] for vectors in runner.exits(blank)]
