"""Batches of uint8 pictures -> training tensors, on whatever device they are on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dare.images import Preparation

ERASED_AREA = (0.02, 0.2)
ERASED_ASPECT = (0.3, 3.33)
ERASING_TRIES = 100


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to training pictures besides the crop and the mirror.

    Attributes:
        enlarge: crop from pictures enlarged by 1.125 (the paper), or else shift pictures of the network's size by
            as much, repeating their edges: training then sees people at the scale that a single pass does.
        erasing: chance that a rectangle of a picture is replaced by noise (Zhong et al. 2017).
        jitter: strength of random brightness, colour and contrast; 0 is none, 0.15 is mild.
    """

    enlarge: bool = True
    erasing: float = 0.5
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.erasing <= 1 and 0 <= self.jitter < 1):
            raise ValueError(
                f"erasing is a chance in 0..1 and jitter in 0..1 exclusive, got {self.erasing} and {self.jitter}"
            )


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
        (B, 3, H, W) float32.
    """
    expected = picture_size(preparation, augmentation)
    if pictures.ndim != 4 or pictures.shape[1:] != (*expected, 3):
        raise ValueError(f"expected pictures (B, {expected[0]}, {expected[1]}, 3), got shape {tuple(pictures.shape)}")
    images = _crop_and_mirror(pictures, preparation, generator)
    images = images.permute(0, 3, 1, 2).float() / 255
    if augmentation.jitter:
        images = _jitter(images, augmentation.jitter, generator)
    mean = torch.tensor(preparation.mean, device=images.device).view(3, 1, 1)
    std = torch.tensor(preparation.std, device=images.device).view(3, 1, 1)
    images = (images - mean) / std
    return _erase(images, augmentation.erasing, generator) if augmentation.erasing else images


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def _crop_and_mirror(pictures: Tensor, preparation: Preparation, generator: torch.Generator) -> Tensor:
    batch, device = len(pictures), pictures.device

    def window(size: int, uncropped: int, full: int) -> Tensor:
        """Positions along one side, (B, size); those outside of a picture that is not enlarged repeat its edge."""
        corner = torch.randint(uncropped - size + 1, (batch, 1), generator=generator, device=device)
        return (corner - (uncropped - full) // 2 + torch.arange(size, device=device)).clamp(0, full - 1)

    rows, columns = (
        window(size, uncropped, full)
        for size, uncropped, full in zip(
            (preparation.height, preparation.width), preparation.uncropped, pictures.shape[1:3], strict=True
        )
    )
    mirrored = torch.rand(batch, 1, generator=generator, device=device) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    return pictures[torch.arange(batch, device=device)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Per picture: a gain for each colour, then contrast about the picture's mean."""
    gain = 1 + _uniform((len(images), 3, 1, 1), -strength, strength, generator)
    contrast = 1 + _uniform((len(images), 1, 1, 1), -strength, strength, generator)
    images = images * gain
    middle = images.mean((1, 2, 3), keepdim=True)
    return ((images - middle) * contrast + middle).clamp(0, 1)


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
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    inside_rows = (rows >= top) & (rows < top + high) & erased
    inside_columns = (columns >= left) & (columns < left + wide)
    inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return torch.where(inside, noise, images)
