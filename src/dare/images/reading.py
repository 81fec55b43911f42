"""From a picture, in a file or in memory, to its pixels: checked, in RGB, upright."""

import io
import stat
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from simplejpeg import decode_jpeg

from dare.datasets.kinds import MAX_BYTES, PICTURE, kind_of
from dare.images.containers import ORIENTATION, Container, open_container
from dare.images.preparation import MIN_SIDE, Preparation, Prepared, prepare

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MAX_PIXELS = 4_000_000

GREY = (127, 127, 127)
"""The background of transparent pixels."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the picture upright."""

RUNS = (1, 2)
"""Compressions of BMPs that Pillow decodes in Python, for seconds."""

DAMAGED = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, struct.error)
"""What Pillow raises for damaged pixels and headers."""

# Modes with 8 bits a channel that convert to RGB without losing anything that matters.
CONVERTIBLE = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"})


Picture = Path | str | Image.Image | NDArray[np.uint8]
"""A file, an image of Pillow, or the pixels of one: (H, W, 3), RGB, 0 to 255. OpenCV's frames are BGR: give
`frame[:, :, ::-1]`."""


Query = Picture | Prepared
"""A picture, or what has been made of one for a network."""


class UnreadableImageError(ValueError):
    """A picture that can't be used as it is; names the file and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    @classmethod
    def several(cls, problems: "Sequence[UnreadableImageError]") -> "UnreadableImageError":
        """One error for many: the first, and the number of the others."""
        more = f" (and {len(problems) - 1} more unreadable pictures)" if len(problems) > 1 else ""
        advice = "; or leave such pictures out with --skip-unreadable"
        return cls(problems[0].path, problems[0].reason + more + advice)


def pixels_of(picture: Picture) -> NDArray[np.uint8]:
    """A picture as (H, W, 3) RGB.

    Raises:
        UnreadableImageError: as `read`, of a file.
        ValueError: another size, or colours that can't be converted.
        TypeError: something else.
    """
    if isinstance(picture, str | Path):
        return read(Path(picture))
    if isinstance(picture, Image.Image):
        if picture.mode not in CONVERTIBLE:
            raise ValueError(f"the picture has colour mode {picture.mode}, expected RGB or grey; convert it")
        turn = UPRIGHT.get(picture.getexif().get(ORIENTATION, 1))
        picture = np.asarray(_on_grey(picture if turn is None else picture.transpose(turn)))
    is_frame = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape[2:] == (3,)
    if not is_frame:
        got = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise TypeError(
            f"expected a picture: a path, an image of Pillow, or RGB pixels (H, W, 3) of uint8; got {got}; "
            "a picture that `dare.prepare` made goes into dare.Prepared"
        )
    height, width = picture.shape[:2]
    if min(height, width) < MIN_SIDE or height * width > MAX_PIXELS:
        raise ValueError(
            f"expected a picture of {MIN_SIDE} pixels a side to {MAX_PIXELS // 10**6} megapixels, got {width}x{height}"
        )
    return np.ascontiguousarray(picture)


def prepared(image: Query, size: Preparation) -> NDArray[np.float32]:
    """A picture (3, H, W) as a network's input.

    Raises:
        UnreadableImageError: a file that can't be used.
        ValueError, TypeError: no picture, or one that was prepared for another network.
    """
    from dare.images.pixels import resize  # numba takes a while to import

    if not isinstance(image, Prepared):
        input: NDArray[np.float32] = prepare(resize(pixels_of(image), size.height, size.width)[None], size)[0]
        return input
    array = image.array
    if array.shape != (3, size.height, size.width) or array.dtype != np.float32:
        raise ValueError(
            f"expected a prepared picture (3, {size.height}, {size.width}) of float32, got {array.dtype} {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError("expected finite values, got NaN or infinity; prepare the picture again")
    return array


def read(path: Path) -> NDArray[np.uint8]:
    """A picture as (H, W, 3) RGB, upright as its EXIF orientation says.

    Grey, palette and transparent pictures are converted, transparency over mid-grey.

    Raises:
        UnreadableImageError: not a regular file, empty, truncated, not JPEG, PNG, WebP or BMP, animated, more
            than 8 bits a channel, CMYK, under 16 pixels a side, over 4 megapixels or 10 MB, or a file that is made to
            keep a decoder busy.
    """
    content = _content(path)
    size = content.plain_size
    if size and min(size) >= MIN_SIDE and size[0] * size[1] <= MAX_PIXELS and content.orientation == 1:
        pixels = decode(content.data)
        if pixels is not None:
            return pixels
    # Pillow reads everything else, and says what is wrong with it.
    return np.asarray(_open(path, content))


def decode(plain: bytes) -> NDArray[np.uint8] | None:
    """Pixels (H, W, 3) of a plain JPEG, in a quarter of Pillow's time; None if the decoder has any complaint.

    Both this and Pillow default to the exact inverse cosine transform and smooth upsampling of colours.
    """
    try:
        pixels: NDArray[np.uint8] = decode_jpeg(plain)
    except ValueError:
        return None
    return pixels


def read_resized(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """A picture as (height, width, 3), read as by `read`, resized by Pillow's antialiased bilinear filter."""
    from dare.images.pixels import resize  # numba takes a while to import

    return resize(read(path), height, width)


def unreadable(paths: Iterable[Path]) -> list[UnreadableImageError]:
    """What is wrong with each picture that `read` refuses."""
    problems = []
    for path in paths:
        try:
            read(path)
        except UnreadableImageError as problem:
            problems.append(problem)
    return problems


def _open(path: Path, content: Container) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content.data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        most = MAX_PIXELS // 10**6
        raise UnreadableImageError(path, f"far too many pixels, at most {most} megapixels; crop it") from error
    except (UnidentifiedImageError, *DAMAGED) as error:
        raise UnreadableImageError(
            path, _other(path) or f"not a picture in one of the formats {', '.join(FORMATS)}; remove or convert it"
        ) from error
    _check(path, image, content.data)
    try:
        turn = UPRIGHT.get(content.orientation)
        upright = image if turn is None else image.transpose(turn)
        return _on_grey(upright)
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise UnreadableImageError(path, f"truncated or damaged ({reason}); replace or remove it") from error


def _on_grey(image: Image.Image) -> Image.Image:
    """In RGB; where it is transparent it shows mid-grey."""
    if image.mode == "RGB":
        image.load()
        return image
    transparent = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", transparent.size, GREY), transparent).convert("RGB")


def _content(path: Path) -> Container:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError(path, _other(path) or "not a regular file; expected a picture")
        if status.st_size > MAX_BYTES:
            if other := _other(path):
                raise UnreadableImageError(path, other)
            size = f"{status.st_size / 1e6:.0f} MB"
            raise UnreadableImageError(path, f"{size} large, at most {MAX_BYTES // 10**6} MB; crop it")
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreadableImageError(path, _other(path) or f"cannot be read: {reason}") from error
    if not data:
        raise UnreadableImageError(path, "empty file; replace or remove it")
    try:
        return open_container(data)
    except ValueError as error:
        raise UnreadableImageError(path, str(error)) from error


def _other(path: Path) -> str | None:
    """What a file is that isn't a picture, if that can be told."""
    kind = kind_of(path)
    return None if kind in (None, PICTURE) else f"{kind.name}, expected a picture; {kind.advice}"


def _check(path: Path, image: Image.Image, data: bytes) -> None:
    """Check the header before any pixel is decoded."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        most = MAX_PIXELS // 10**6
        raise UnreadableImageError(path, f"{width}x{height} pixels, at most {most} megapixels; crop it")
    if min(width, height) < MIN_SIDE:
        raise UnreadableImageError(path, f"{width}x{height} pixels, at least {MIN_SIDE} a side; remove it")
    if getattr(image, "is_animated", False):
        raise UnreadableImageError(path, "animated; save the frame you mean as a still picture")
    # Pillow silently opens 16-bit colour PNGs as 8-bit "RGB"; the header's byte 24 is the bit depth.
    sixteen_bit_png = image.format == "PNG" and len(data) > 24 and data[24] == 16
    if sixteen_bit_png or image.mode.startswith(("I", "F")):
        raise UnreadableImageError(path, "16 bits or more a channel, expected 8; convert it")
    if image.format == "BMP" and image.info.get("compression") in RUNS:
        raise UnreadableImageError(path, "a compressed BMP; convert it")
    if image.mode not in CONVERTIBLE:
        raise UnreadableImageError(path, f"colour mode {image.mode}, expected RGB or grey; convert it")
