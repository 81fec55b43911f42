"""A gallery together with the network that its vectors come from."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dare.gallery.lance import LanceGallery
from dare.gallery.opening import create_gallery
from dare.gallery.store import MismatchError
from dare.retrieval.distances import another_model
from dare.runners.runner import Runner
from dare.shipped import network
from dare.shipped.network import is_name, located

Open = Callable[[Sequence[Path]], Runner]
"""Opens a network by its paths, several of a cascade, such as `dare.open_runner`."""


def open_with_network(folder: Path, model: Sequence[Path] | None, open: Open) -> tuple[LanceGallery, Runner]:
    """A gallery that is there, and its network.

    Args:
        model: where the network is, or a shipped one's name; by default where it was when the gallery was made.

    Raises:
        GalleryError: no gallery there, or one that cannot be read.
        FileNotFoundError: the network isn't there any more.
        MismatchError: another network.
    """
    store = LanceGallery(folder)
    try:
        paths = network_paths(store, model)
        missing = [path for path in paths if not path.exists()]
        if missing or not paths:
            where = missing[0] if missing else "an unknown place"
            advice = "give another place with --model" if model else "say where it is with --model"
            raise FileNotFoundError(f"the gallery's network is not at {where} any more; {advice}")
        runner = open(paths)
        if runner.digest != store.model:
            advice = f"give the network that the gallery was made with, not {paths[0]}"
            raise MismatchError(another_model("the gallery holds vectors", store.model, runner.digest, advice))
    except BaseException:
        store.close()
        raise
    return store, runner


def create_with_network(folder: Path, model: Sequence[Path] | None, open: Open) -> tuple[LanceGallery, Runner]:
    """An empty gallery for a network, whose place it remembers.

    Raises:
        GalleryError: there is something already.
        ValueError: no network.
    """
    if not model:
        raise ValueError(f"no gallery at {folder}; give --model to make one")
    runner = open(model)
    size = runner.preparation
    blank = np.zeros((size.frames, 3, size.height, size.width), np.float32)
    store = create_gallery(
        folder,
        model=runner.digest,
        dimensions=[vectors.shape[1] for vectors in runner.exits(blank)],
        model_path=[str(path.absolute() if located(path) == path else path) for path in model],
        names=runner.exit_names,
        space=runner.space,
    )
    return store, runner


def network_paths(store: LanceGallery, model: Sequence[Path] | None = None) -> list[Path]:
    """Where a gallery's network is: as it is given, or as the gallery remembers it."""
    if model:
        return [located(path) for path in model]
    # Paths are remembered whole, so a name is a shipped network's, whatever the working directory holds.
    return [network.NETWORKS / path if is_name(path) else path for path in map(Path, store.model_path)]
