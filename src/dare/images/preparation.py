"""From pixels to the array a network takes: normalise, and ten crops."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_SIDE = 16
"""Pixels that pictures and a network's input have at least, a side."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CROP_MARGIN = 1.125
"""Pictures are resized to this multiple before they are cropped (paper, section 5)."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How pictures are turned into a network's input; a checkpoint carries its own.

    Attributes:
        height, width: in pixels.
        mean, std: per RGB channel, of values in [0, 1].
        frames: pictures of a tracklet that become one vector together; 1 for networks that take pictures one by one.
    """

    height: int = 256
    width: int = 128
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    frames: int = 1

    def __post_init__(self) -> None:
        if not (isinstance(self.height, int) and isinstance(self.width, int)):
            raise ValueError(f"height and width must be whole numbers, got {self.size}")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError(f"expected mean and std of three channels, got {self.mean} and {self.std}")
        if min(self.height, self.width) < MIN_SIDE:
            raise ValueError(f"the input must be at least {MIN_SIDE} pixels high and wide, got {self.size}")
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise ValueError(f"means must be finite and standard deviations positive, got {self.mean} and {self.std}")
        if not isinstance(self.frames, int) or self.frames < 1:
            raise ValueError(f"frames must be a whole number of at least 1, got {self.frames}")

    @property
    def size(self) -> str:
        return f"{self.height}x{self.width}"

    @property
    def uncropped(self) -> tuple[int, int]:
        """Height and width before a crop: 288x144 for 256x128."""
        return round(self.height * CROP_MARGIN), round(self.width * CROP_MARGIN)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture that is a network's input already: (3, H, W) of float32, as `prepare` makes it."""

    array: NDArray[np.float32]


def prepare(pictures: NDArray[np.uint8], preparation: Preparation) -> NDArray[np.float32]:
    """Pictures of the network's size, (B, H, W, 3), as its input (B, 3, H, W)."""
    from dare.images.pixels import normalise

    return normalise(pictures, *_line(preparation))


def unprepared(height: int, width: int) -> Preparation:
    """The preparation that leaves pixel values as they are, whole numbers from 0 to 255."""
    return Preparation(height, width, (0, 0, 0), (1 / 255, 1 / 255, 1 / 255))


def from_pixels(images: NDArray[np.float32], preparation: Preparation) -> NDArray[np.float32]:
    """`unprepared` images (B, 3, H, W) as another network's input, as `prepare` would make it.

    Equal to the last bit if the size stays; otherwise the images are resized once more.
    """
    from dare.images.pixels import resize

    height, width = preparation.height, preparation.width
    if images.shape[2:] == (height, width):
        scale, shift = _line(preparation)
        if (scale == 1).all() and not shift.any():
            return images
        prepared: NDArray[np.float32] = images * scale[:, None, None]
        prepared -= shift[:, None, None]
        return prepared
    pictures = images.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    resized = np.empty((len(pictures), height, width, 3), np.uint8)
    for row, picture in enumerate(pictures):
        resized[row] = resize(picture, height, width)
    return prepare(resized, preparation)


def _line(preparation: Preparation) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale and shift per channel: a prepared value is pixel * scale - shift."""
    mean, std = np.asarray(preparation.mean, np.float32), np.asarray(preparation.std, np.float32)
    return np.float32(1) / (np.float32(255) * std), mean / std


def ten_crops(pictures: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Four corners and the centre of each picture, then of its mirror image, in torchvision's order.

    Args:
        pictures: (B, H, W, 3), H and W at least height and width.

    Returns:
        (10, B, height, width, 3).

    Source: paper, section 5; Krizhevsky et al. 2012.
    """
    down, right = pictures.shape[1] - height, pictures.shape[2] - width
    corners = [(0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2))]
    sides = (pictures, pictures[:, :, ::-1])
    return np.stack([side[:, y : y + height, x : x + width] for side in sides for y, x in corners])
