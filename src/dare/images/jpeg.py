"""Plain JPEGs, decoded by libjpeg-turbo without Pillow around it: the same pixels in a quarter of the time."""

import struct

import numpy as np
import simplejpeg
from numpy.typing import NDArray

JFIF = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
AFTER_JFIF = 20  # where the next segment starts

FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive; arithmetic coding is not plain
HARMLESS = frozenset({0xC4, 0xDB, 0xDD, 0xFE})  # Huffman tables, quantisation, restart interval, comment
SCAN = 0xDA

SEGMENT = struct.Struct(">BBH")
FRAME = struct.Struct(">BHHB")


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a plain JPEG; None for every other file.

    Plain means JFIF with 8 bits in one or three channels, without EXIF, Adobe, colour profile or other application
    segments. Pillow decodes such files the same way.
    """
    if not data.startswith(JFIF):
        return None
    size, at = None, AFTER_JFIF
    try:
        while True:
            start, marker, length = SEGMENT.unpack_from(data, at)
            if start != 0xFF:
                return None
            if marker == SCAN:
                return size
            if marker in FRAMES and size is None:
                bits, height, width, channels = FRAME.unpack_from(data, at + SEGMENT.size)
                if bits != 8 or channels not in (1, 3) or length != 8 + 3 * channels:
                    return None
                size = height, width
            elif marker not in HARMLESS or length < 2:
                return None
            at += 2 + length
    except struct.error:
        return None


def decode(data: bytes) -> NDArray[np.uint8] | None:
    """Pixels (H, W, 3) in RGB; None if the decoder has any complaint, even a warning.

    Both this and Pillow default to the exact inverse cosine transform and smooth upsampling of colours.
    """
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data)
    except ValueError:
        return None
    return pixels
