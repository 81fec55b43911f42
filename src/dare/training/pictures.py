"""Training pictures: decoded once, to memory or a mapped file; then cropped, mirrored and recoloured in batches."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from dare.images.pixels import cut, recolour
from dare.images.preparation import Preparation
from dare.images.reading import UnreadableImageError, read_resized

DECODING_THREADS = 4
BLOCK = 4096  # pictures waiting to be decoded at a time: of hundreds of thousands, each would cost a kilobyte


def load_pictures(
    paths: Sequence[Path],
    height: int,
    width: int,
    *,
    folder: Path | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[NDArray[np.uint8], list[UnreadableImageError]]:
    """Decode and resize pictures.

    Args:
        paths: N files.
        folder: where to keep the pixels in a file instead of in memory; an earlier run's file of the same
            pictures is used again.
        on_progress: called with the number of pictures done.

    Returns:
        (N, height, width, 3), black where a picture is unreadable, and what is wrong with those.
    """
    shape = (len(paths), height, width, 3)
    if folder is None:
        pictures = np.empty(shape, np.uint8)
        return pictures, _fill(pictures, paths, on_progress)
    names = json.dumps([shape, [[str(path), *_stamp(path)] for path in paths]])
    file = folder / f"pictures-{hashlib.sha256(names.encode()).hexdigest()[:16]}.npy"
    if file.exists():
        on_progress(len(paths))
        return np.load(file, mmap_mode="r"), []
    folder.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".part")
    try:
        mapped = _map(aside, shape)
        problems = _fill(mapped, paths, on_progress)
        mapped.flush()
        if not problems:  # a file is only kept when nothing needs to be said about it next time
            aside.replace(file)
    finally:
        # Where files can be unlinked while mapped the pictures stay readable.
        aside.unlink(missing_ok=True)
    return mapped, problems


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0  # unreadable, which decoding will say
    return status.st_size, status.st_mtime_ns


def _map(file: Path, shape: tuple[int, ...]) -> Any:
    """A mapped file with all its space taken: a disk that fills up later would kill the process without a word."""
    try:
        mapped = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with file.open("r+b") as opened:
                os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} for the decoded pictures", str(file)) from error
    return mapped


def _fill(
    pictures: NDArray[np.uint8], paths: Sequence[Path], on_progress: Callable[[int], None]
) -> list[UnreadableImageError]:
    height, width = pictures.shape[1:3]

    def decode(position: int) -> UnreadableImageError | None:
        try:
            pictures[position] = read_resized(paths[position], height, width)
        except UnreadableImageError as problem:
            pictures[position] = 0
            return problem
        return None

    problems = []
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        for start in range(0, len(paths), BLOCK):
            block = range(start, min(start + BLOCK, len(paths)))
            for done, problem in enumerate(pool.map(decode, block), start=start + 1):
                if problem:
                    problems.append(problem)
                on_progress(done)
    return problems


ERASED_AREA = (0.02, 0.2)
ERASED_ASPECT = (0.3, 3.33)
ERASING_TRIES = 100


@pydantic.dataclasses.dataclass(
    frozen=True, slots=True, config=pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
)
class Augmentation:
    """What is done to training pictures besides the crop and the mirror.

    Attributes:
        enlarge: crop from pictures enlarged by 1.125 (the paper), or else shift pictures of the network's size by
            as much, repeating their edges: training then sees people at the scale that a single pass does.
        erasing: chance that a rectangle of a picture is replaced by noise (Zhong et al. 2017).
        jitter: strength of random brightness, colour and contrast; 0 is none, 0.15 is mild.
    """

    enlarge: bool = True
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.5
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.0


def picture_size(preparation: Preparation, augmentation: Augmentation) -> tuple[int, int]:
    """Height and width of the pictures that crops are taken from."""
    return preparation.uncropped if augmentation.enlarge else (preparation.height, preparation.width)


def augment(
    pictures: Tensor, preparation: Preparation, augmentation: Augmentation, generator: torch.Generator
) -> Tensor:
    """Crop, mirror, jitter, normalise and erase, all drawn from the generator.

    Args:
        pictures: (B, H', W', 3) uint8, enlarged or of the network's size, as the augmentation says.
        preparation: size of the crop, mean and standard deviation.
        generator: on the pictures' device.

    Returns:
        (B, 3, H, W) float32; their memory may be in the order (B, H, W, 3).
    """
    windows = _windows(preparation, picture_size(preparation, augmentation), len(pictures), generator)
    jitter = _jitter(len(pictures), augmentation.jitter, generator) if augmentation.jitter else None
    # What the CPU does in one pass over the pixels; torch needs ten.
    cropped = _compiled if pictures.device.type == "cpu" else _composed
    images = cropped(pictures, preparation, windows, jitter)
    return _erase(images, augmentation.erasing, generator) if augmentation.erasing else images


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


Windows = tuple[Tensor, Tensor, Tensor]
"""First row and column of each crop, negative outside of its picture, and whether it is mirrored; all (B,)."""


def _windows(preparation: Preparation, full: tuple[int, int], batch: int, generator: torch.Generator) -> Windows:
    device = generator.device
    corners = []
    for size, uncropped, side in zip((preparation.height, preparation.width), preparation.uncropped, full, strict=True):
        corner = torch.randint(uncropped - size + 1, (batch, 1), generator=generator, device=device)[:, 0]
        corners.append(corner - (uncropped - side) // 2)
    mirrored = torch.rand(batch, 1, generator=generator, device=device)[:, 0] < 0.5
    return corners[0], corners[1], mirrored


def _jitter(batch: int, strength: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each picture a gain for each colour, (B, 3), and the contrast, (B,)."""
    gain = 1 + _uniform((batch, 3, 1, 1), -strength, strength, generator)
    contrast = 1 + _uniform((batch, 1, 1, 1), -strength, strength, generator)
    return gain[:, :, 0, 0], contrast[:, 0, 0, 0]


def _composed(
    pictures: Tensor,
    preparation: Preparation,
    windows: Windows,
    jitter: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Windows of the pictures, their edges repeated, jittered and normalised: (B, 3, H, W)."""
    (top, left, mirrored), device = windows, pictures.device
    rows = top[:, None] + torch.arange(preparation.height, device=device)
    columns = left[:, None] + torch.arange(preparation.width, device=device)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    rows, columns = rows.clamp(0, pictures.shape[1] - 1), columns.clamp(0, pictures.shape[2] - 1)
    number = torch.arange(len(pictures), device=device)
    crops = pictures[number[:, None, None], rows[:, :, None], columns[:, None, :]]
    images = crops.permute(0, 3, 1, 2).float() / 255
    if jitter:
        gain, contrast = jitter
        images = images * gain[:, :, None, None]
        middle = images.mean((1, 2, 3), keepdim=True)
        images = ((images - middle) * contrast[:, None, None, None] + middle).clamp(0, 1)
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (preparation.mean, preparation.std))
    return (images - mean) / std


def _compiled(
    pictures: Tensor,
    preparation: Preparation,
    windows: Windows,
    jitter: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """As `_composed`, for pictures in the CPU's memory."""
    shades = torch.arange(256).float()[None] / 255
    mean, std = (torch.tensor(values)[:, None] for values in (preparation.mean, preparation.std))
    table = shades.repeat(3, 1) if jitter else (shades - mean) / std
    size = preparation.height, preparation.width
    top, left, mirrored = (part.numpy() for part in windows)
    images = cut(pictures.numpy(), top, left, mirrored, *size, table.contiguous().numpy())
    if jitter:
        gain, contrast = (part.contiguous().numpy() for part in jitter)
        recolour(images, gain, contrast, mean[:, 0].numpy(), std[:, 0].numpy())
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _erase(images: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """Random erasing as the released code does it: linear aspect, at most 100 tries, N(0, 1) per value."""
    batch, _, height, width = images.shape
    shape = (batch, ERASING_TRIES)
    area = _uniform(shape, *ERASED_AREA, generator) * height * width
    aspect = _uniform(shape, *ERASED_ASPECT, generator)
    heights, widths = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (heights < height) & (widths < width)
    first = fits.float().argmax(1, keepdim=True)
    high, wide = heights.gather(1, first), widths.gather(1, first)
    erased = fits.any(1, keepdim=True) & (_uniform((batch, 1), 0, 1, generator) < chance)
    top = (_uniform((batch, 1), 0, 1, generator) * (height - high + 1)).floor()
    left = (_uniform((batch, 1), 0, 1, generator) * (width - wide + 1)).floor()
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    boxes = torch.cat([top, left, high, wide], 1).int().tolist()
    for number in erased[:, 0].nonzero()[:, 0].tolist():
        y, x, tall, broad = boxes[number]
        box = number, slice(None), slice(y, y + tall), slice(x, x + broad)
        images[box] = noise[box]
    return images
