"""Time from an image file to a network's input, on one core: by Pillow and numpy alone, and by dare."""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dare.images.containers import open_container
from dare.images.pixels import resize
from dare.images.preparation import Preparation, prepare
from dare.images.reading import decode, read, read_resized

SIZES = [((128, 64), (256, 128)), ((128, 64), (128, 64)), ((300, 120), (256, 128))]


def by_pillow(path: Path, preparation: Preparation) -> NDArray[np.float32]:
    """The reference: Pillow and numpy alone."""
    image = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    pixels = np.asarray(image.resize((preparation.width, preparation.height), Image.Resampling.BILINEAR))
    scale = np.float32(1) / (np.float32(255) * np.asarray(preparation.std, np.float32))
    shift = np.asarray(preparation.mean, np.float32) / np.asarray(preparation.std, np.float32)
    return np.ascontiguousarray((pixels[None] * scale - shift).transpose(0, 3, 1, 2))


def by_dare(path: Path, preparation: Preparation) -> NDArray[np.float32]:
    return prepare(read_resized(path, preparation.height, preparation.width)[None], preparation)


def draw(folder: Path, height: int, width: int, count: int) -> list[Path]:
    """JPEGs of gradients and noise, as large as crops of people."""
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        down, across, offset = random.uniform(0, 120, 3)
        slopes = np.add.outer(np.linspace(0, down, height), np.linspace(0, across, width)) + offset
        busy = slopes[..., None] + random.normal(0, 12, (height, width, 3))
        paths.append(folder / f"{height}x{width}_{number}.jpg")
        Image.fromarray(busy.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def seconds(work: Callable[[Any], object], items: Sequence[object]) -> float:
    """Per item."""
    start = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - start) / len(items)


def measure(paths: Sequence[Path], preparation: Preparation, rounds: int) -> None:
    """Each once a round, so the machine's other load affects all; medians over rounds."""
    contents = [path.read_bytes() for path in paths]
    decoded = [read(path) for path in paths]
    resized = [resize(pixels, preparation.height, preparation.width) for pixels in decoded]
    apart = max(np.abs(by_dare(path, preparation) - by_pillow(path, preparation)).max() for path in paths)
    ways: dict[str, Callable[[], float]] = {
        "Pillow and numpy": lambda: seconds(lambda path: by_pillow(path, preparation), paths),
        "dare": lambda: seconds(lambda path: by_dare(path, preparation), paths),
        "  read the file": lambda: seconds(Path.read_bytes, paths),
        "  judge its header": lambda: seconds(open_container, contents),
        "  decode": lambda: seconds(decode, contents),
        "  resize": lambda: seconds(lambda one: resize(one, preparation.height, preparation.width), decoded),
        "  normalise": lambda: seconds(lambda one: prepare(one[None], preparation), resized),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way())
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:20} {1000 * median:7.3f} ms {1 / median:9,.0f} a second")
    ratio = statistics.median(old / new for old, new in zip(taken["Pillow and numpy"], taken["dare"], strict=True))
    print(f"dare is {ratio:.1f} times as fast; inputs differ by {apart:g} at most\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="measure these .jpg files instead of drawn ones")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    if arguments.folder and not any(arguments.folder.glob("*.jpg")):
        parser.error(f"no .jpg files in {arguments.folder}")
    with tempfile.TemporaryDirectory() as temporary:
        for (height, width), (to_height, to_width) in SIZES[: 2 if arguments.folder else None]:
            if arguments.folder:
                paths = sorted(arguments.folder.glob("*.jpg"))[: arguments.pictures]
                print(f"{arguments.folder} to {to_height}x{to_width}")
            else:
                paths = draw(Path(temporary), height, width, arguments.pictures)
                print(f"{height}x{width} to {to_height}x{to_width}")
            size = sum(path.stat().st_size for path in paths) / len(paths)
            print(f"{len(paths)} pictures, {size / 1000:.1f} kB each")
            measure(paths, Preparation(to_height, to_width), arguments.rounds)


if __name__ == "__main__":
    main()
