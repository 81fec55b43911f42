"""Arithmetic on pixels, compiled: resizing exactly as Pillow does, normalising, and training's crops and colours."""

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from dare.files import compiled

BITS = 22
"""Binary digits of a resizing weight, as in Pillow."""

_PICTURE = types.Array(types.uint8, 3, "C", readonly=True)
_PICTURES = types.Array(types.uint8, 4, "C", readonly=True)
_VALUES = types.float32[::1]


def resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) as (height, width, 3) by an antialiased bilinear filter.

    The values are those of `PIL.Image.Image.resize` to the last bit. Columns are resized before rows unless the
    picture loses more than twice as many rows as columns; that is the order of Pillow 13, while older versions always
    begin with the columns, which changes values by one at most.
    """
    if picture.shape[:2] == (height, width):
        return picture
    resized: NDArray[np.uint8] = _resize(np.ascontiguousarray(picture), height, width)
    return resized


def normalise(
    pictures: NDArray[np.uint8], scale: NDArray[np.float32], shift: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`pictures * scale - shift` in float32, transposed from (B, H, W, 3) to (B, 3, H, W)."""
    batch, height, width, _ = pictures.shape
    planes = np.empty((batch, 3, height, width), np.float32)
    _normalise(np.ascontiguousarray(pictures), scale, shift, planes)
    return planes


def cut(
    pictures: NDArray[np.uint8],
    top: NDArray[np.int64],
    left: NDArray[np.int64],
    mirrored: NDArray[np.bool_],
    height: int,
    width: int,
    table: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Windows of pictures, whose edges repeat outside of them, as values of a table.

    Args:
        pictures: (B, H, W, 3).
        top, left: (B,), where each window begins; may be negative.
        mirrored: (B,), whether left and right are swapped.
        height, width: of the windows.
        table: (3, 256), the value for each colour's shade.

    Returns:
        (B, height, width, 3).
    """
    windows = np.empty((len(pictures), height, width, 3), np.float32)
    _cut(np.ascontiguousarray(pictures), top, left, mirrored, table, windows)
    return windows


@compiled()
def _weights(size: int, target: int) -> Any:
    """For each of target pixels its first source pixel, the number of them and their weights.

    A triangle over the source pixels, as wide as two source or target pixels, whichever are larger.
    """
    scale = size / target
    reach = max(scale, 1.0)
    first, count = np.empty(target, np.int64), np.empty(target, np.int64)
    weights = np.zeros((target, 2 * int(np.ceil(reach)) + 1), np.int32)
    shares = np.empty(weights.shape[1])
    for place in range(target):
        centre = (place + 0.5) * scale
        start = max(int(centre - reach + 0.5), 0)
        number = min(int(centre + reach + 0.5), size) - start
        total = 0.0
        for tap in range(number):
            shares[tap] = max(1 - abs((tap + start - centre + 0.5) * (1 / reach)), 0.0)
            total += shares[tap]
        for tap in range(number):
            weights[place, tap] = int(0.5 + shares[tap] / total * (1 << BITS))
        first[place], count[place] = start, number
    return first, count, weights


@compiled()
def _resize_rows(rows: Any, target: int) -> Any:
    """(N, M) to (target, M), each row a weighted mean of rows; the loops along a row run over several at once."""
    first, count, weights = _weights(rows.shape[0], target)
    resized = np.empty((target, rows.shape[1]), np.uint8)
    sums = np.empty(rows.shape[1], np.int32)
    half = np.int32(1 << (BITS - 1))
    for place in range(target):
        into, start = resized[place], first[place]
        if count[place] == 2:  # always so where a picture grows, except at its edges
            one, two = rows[start], rows[start + 1]
            of_one, of_two = weights[place, 0], weights[place, 1]
            for column in range(len(into)):
                # Casts keep products in 32 bits, which they fit.
                total = np.int32(half + np.int32(one[column]) * of_one) + np.int32(two[column]) * of_two
                into[column] = np.int32(total) >> BITS
            continue
        sums[:] = half
        for tap in range(count[place]):
            row, weight = rows[start + tap], weights[place, tap]
            for column in range(len(into)):
                sums[column] += np.int32(row[column]) * weight
        for column in range(len(into)):
            into[column] = min(sums[column] >> BITS, 255)
    return resized


@compiled()
def _turn(picture: Any) -> Any:
    """Rows become columns."""
    height, width, _ = picture.shape
    turned = np.empty((width, height, 3), np.uint8)
    for column in range(width):
        into = turned[column]
        for row in range(height):
            into[row, 0] = picture[row, column, 0]
            into[row, 1] = picture[row, column, 1]
            into[row, 2] = picture[row, column, 2]
    return turned


@compiled()
def _resize_height(picture: Any, height: int) -> Any:
    rows, columns, _ = picture.shape
    return _resize_rows(picture.reshape(rows, columns * 3), height).reshape(height, columns, 3)


@compiled(types.uint8[:, :, ::1](_PICTURE, types.int64, types.int64))
def _resize(picture: Any, height: int, width: int) -> Any:
    rows_lost, columns_lost = picture.shape[0] - height, picture.shape[1] - width
    rows_first = rows_lost > 0 and rows_lost > 2 * columns_lost
    resized = picture.copy()
    if rows_first:
        resized = _resize_height(resized, height)
    if columns_lost != 0:
        resized = _turn(_resize_height(_turn(resized), width))
    if rows_lost != 0 and not rows_first:
        resized = _resize_height(resized, height)
    return resized


@compiled(types.void(_PICTURES, _VALUES, _VALUES, types.float32[:, :, :, ::1]))
def _normalise(pictures: Any, scale: Any, shift: Any, planes: Any) -> None:
    for picture in range(len(pictures)):
        values, into = pictures[picture].reshape(-1), planes[picture].reshape(3, -1)
        red, green, blue = into[0], into[1], into[2]
        for pixel in range(into.shape[1]):
            red[pixel] = np.float32(values[3 * pixel]) * scale[0] - shift[0]
            green[pixel] = np.float32(values[3 * pixel + 1]) * scale[1] - shift[1]
            blue[pixel] = np.float32(values[3 * pixel + 2]) * scale[2] - shift[2]


@compiled(
    types.void(
        _PICTURES, types.int64[:], types.int64[:], types.boolean[:], types.float32[:, ::1], types.float32[:, :, :, ::1]
    ),
)
def _cut(pictures: Any, top: Any, left: Any, mirrored: Any, table: Any, windows: Any) -> None:
    red, green, blue = table[0], table[1], table[2]
    last_row, last_column = pictures.shape[1] - 1, pictures.shape[2] - 1
    height, width = windows.shape[1], windows.shape[2]
    for number in range(len(pictures)):
        for row in range(height):
            line = pictures[number, min(max(top[number] + row, 0), last_row)]
            into = windows[number, row]
            for place in range(width):
                column = left[number] + (width - 1 - place if mirrored[number] else place)
                pixel = line[min(max(column, 0), last_column)]
                into[place, 0], into[place, 1], into[place, 2] = red[pixel[0]], green[pixel[1]], blue[pixel[2]]


@compiled(types.void(types.float32[:, :, :, ::1], types.float32[:, ::1], _VALUES, _VALUES, _VALUES))
def recolour(images: Any, gain: Any, contrast: Any, mean: Any, std: Any) -> None:
    """Gain, then contrast about each image's mean, clipped to 0..1 and normalised; in place.

    Args:
        images: (B, H, W, 3), in 0..1.
        gain: (B, 3), of each colour.
        contrast: (B,).
        mean, std: (3,).
    """
    for number in range(len(images)):
        pixels = images[number].reshape(-1, 3)
        total = 0.0
        for pixel in range(len(pixels)):
            for colour in range(3):
                value = pixels[pixel, colour] * gain[number, colour]
                pixels[pixel, colour] = value
                total += value
        middle, strength = np.float32(total / (3 * len(pixels))), contrast[number]
        for pixel in range(len(pixels)):
            for colour in range(3):
                value = (pixels[pixel, colour] - middle) * strength + middle
                pixels[pixel, colour] = (min(max(value, np.float32(0)), np.float32(1)) - mean[colour]) / std[colour]
