"""Which folders of a user's own data set are its splits, which look as if they were meant to be, which are none."""

import difflib
from pathlib import Path

from dare.datasets.listing import SPLITS

LIKE_SPLITS = ("test", "valid", "validation", "testing", "training", "probe", "queries", "queue")
"""Names of folders that are splits elsewhere."""
ALSO_NAMES = ("val", "dev")
"""Alike, but people are called so too."""
PUBLISHED_SPLITS = ("bounding_box_train", "bounding_box_test", "bbox_train", "bbox_test")
ALIKE, VERY_ALIKE = 0.7, 0.8
"""How alike a name and a split's are that is taken for misspelt: beside splits, and where there are none."""

LEFT_OUT = ("__macosx", "lost+found", "$recycle.bin", "system volume information", "thumbnails", "thumbs")
"""Folders that archivers, bins and file managers make."""


def splits_of(root: Path) -> dict[str, Path]:
    """The folders of a data set that are splits, in whatever case: none if all its folders are people.

    Raises:
        ValueError: a folder beside splits or people looks as if it were meant to be one.
    """
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not is_left_out(path)]
    splits = {path.name.lower(): path for path in folders if path.name.lower() in SPLITS}
    others = [path for path in folders if path not in splits.values()]
    suspects = [path for path in others if _is_suspect(path.name, ALIKE if splits else VERY_ALIKE)]
    if not splits:  # among people, or alone without people inside, it may be somebody's name
        all_alike = suspects == others
        suspects = [p for p in suspects if p.name.lower() in LIKE_SPLITS or (all_alike and _holds_folders(p))]
    if suspects:
        meant = _meant(suspects[0].name, ALIKE)
        hint = f"{meant[0]}/" if meant else " or ".join(f"{split}/" for split in SPLITS)
        raise ValueError(
            f"{root} has a folder {suspects[0].name}/, which would not be read as a split; rename it to {hint} if that "
            "is meant, or move it away"
        )
    return {split: splits[split] for split in SPLITS if split in splits}


def _is_suspect(name: str, alike: float) -> bool:
    name = name.lower()
    if name in PUBLISHED_SPLITS:  # spelt right, so whoever has it read as a folder means it
        return False
    return name in (*LIKE_SPLITS, *ALSO_NAMES) or bool(_meant(name, alike))


def _meant(name: str, alike: float) -> list[str]:
    return difflib.get_close_matches(name.lower(), (*SPLITS, *PUBLISHED_SPLITS), 1, alike)


def _holds_folders(path: Path) -> bool:
    return any(inside.is_dir() and not is_left_out(inside) for inside in path.iterdir())


def is_left_out(path: Path, is_folder: bool | None = None) -> bool:
    """Hidden, or a folder made by a NAS, an archiver or a file manager: thumbnails, bins."""
    name = path.name
    if name.startswith("."):
        return True
    is_unwanted = name.startswith(("@", "#")) or name.lower() in LEFT_OUT
    return is_unwanted and (path.is_dir() if is_folder is None else is_folder)
