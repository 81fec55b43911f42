"""MSMT17: pictures in a folder per person, splits in text files.

Source: Wei et al., "Person Transfer GAN to Bridge Domain Gap for Person Re-identification", CVPR 2018. A line of a
list is `0000/0000_045_12_0303morning_0006_2.jpg 0`: the picture, whose third part is the camera, and the person.
Version 2 has the same pictures with masked faces.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from dare.datasets.published import Published, stills
from dare.datasets.sample import Benchmark, Sample

VERSIONS = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}
"""Folders of pictures."""

INSIDE = ("MSMT17_V1", "MSMT17_V2")
LISTS = {"train": "list_train.txt", "val": "list_val.txt", "query": "list_query.txt", "gallery": "list_gallery.txt"}

PUBLISHED = Published("MSMT17", (32_621, 11_659, 82_161), (1_041, 3_060))
"""Training pictures with those of list_val.txt."""

LINE = re.compile(r"(?P<name>(?:.*/)?(?P<person>\d{1,18})_[^_/]+_(?P<camera>\d{1,18})_[^/\s]*)\s+(?P<label>\d{1,18})")


def msmt17(root: str | Path, *, validation: bool = True) -> Benchmark:
    """Read MSMT17, version 1 or 2, from the folder that holds the four lists, or the one above it.

    People are numbered from 0 in training, and again from 0 in the test; 0 is a person, not a distractor.

    Args:
        validation: whether the pictures in list_val.txt are trained on too; the published 32,621 include them.

    Raises:
        FileNotFoundError: a folder, a list or a picture is missing.
        ValueError: a list contradicts itself or another one.
    """
    inside = [Path(root) / name for name in INSIDE if (Path(root) / name).is_dir()]
    if len(inside) > 1:
        raise ValueError(f"{root} holds both versions, {' and '.join(INSIDE)}; give the folder of one of them")
    top = inside[0] if inside else Path(root)
    version = next((v for v, folders in VERSIONS.items() if all((top / name).is_dir() for name in folders)), None)
    missing = [name for name in LISTS.values() if not (top / name).is_file()]
    if version is None or missing:
        folders = " or ".join(f"{train}/ and {test}/" for train, test in VERSIONS.values())
        raise FileNotFoundError(
            f"expected {', '.join(LISTS.values())} and the folders {folders} in {top}, found no "
            f"{', '.join(missing) or 'such folders'}; ask the authors of MSMT17 for what is missing"
        )
    train, test = (top / name for name in VERSIONS[version])
    lists = {split: top / name for split, name in LISTS.items()}
    splits = {
        "train": _trained_on(train, lists, validation),
        "query": stills(test, _rows(lists["query"]), lists["query"]),
        "gallery": stills(test, _rows(lists["gallery"]), lists["gallery"]),
    }
    if both := {*splits["query"]} & {*splits["gallery"]}:
        name = min(sample.images[0].name for sample in both)
        raise ValueError(f"{lists['query']} and {lists['gallery'].name} both list {name}; take the official files")
    notes = [*PUBLISHED.differences(splits), *([] if validation else ["list_val.txt is not trained on"])]
    return Benchmark(
        "msmt17", splits["train"], splits["query"], splits["gallery"], top, notes=tuple(notes), numbered_anew=True
    )


def _trained_on(folder: Path, lists: dict[str, Path], validation: bool) -> tuple[Sample, ...]:
    train = stills(folder, _rows(lists["train"]), lists["train"])
    if not validation:
        return train
    val = stills(folder, _rows(lists["val"]), lists["val"])
    if twice := {*train} & {*val}:
        name = min(sample.images[0].name for sample in twice)
        raise ValueError(f"{lists['train']} and {lists['val'].name} both list {name}; take the official files")
    return tuple(sorted((*train, *val), key=lambda sample: sample.images))


def _rows(source: Path) -> Iterator[tuple[str, int, int]]:
    """Name, person and camera of each picture in a list."""
    for number, line in enumerate(source.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        if match is None or int(match["person"]) != int(match["label"]):
            raise ValueError(
                f"{source}, line {number}: expected a picture and its person, such as "
                f"0000/0000_045_12_0303morning_0006_2.jpg 0, got {line.strip()!r}; take the official file"
            )
        yield match["name"], int(match["person"]), int(match["camera"])
