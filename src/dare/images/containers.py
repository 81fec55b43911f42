"""What stands in a picture file around its pixels: bounded, and taken out before a decoder sees it.

Decoders follow whatever a file says. A block of EXIF data may ask for hundreds of megabytes, and a JPEG for thousands
of passes over its pixels, so both are dealt with here.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MOST_PARTS = 50_000
"""Segments or chunks of a file. A PNG of 10 MB has a thousand as a rule."""

MOST_TEXT = 200_000
"""Bytes of a compressed text that are looked at."""

MOST_SCANS = 100
MOST_SCANNED = 48_000_000
"""Passes of a JPEG over its pixels, and these times its pixels. Progressive files have ten as a rule."""
FEW_SCANS = 12
MOST_BYTES = 3_000_000
"""Of a JPEG with more passes than a few. Those that refine pixels take 0.07 s per million bytes."""

ORIENTATION = 0x0112  # the EXIF tag
WHOLE_NUMBERS = {3: "H", 4: "I"}
"""EXIF's name of a type -> `struct`'s."""

DAMAGED, REPLACE = "truncated or damaged", "replace or remove it"

JPEG, PNG, RIFF = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF"
JFIF, EXIF, ADOBE = b"JFIF\0", b"Exif\0\0", 0xEE
FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive; arithmetic coding is not plain
ALL_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
TABLES = frozenset({0xC4, 0xDB, 0xDD})  # Huffman, quantisation, restart interval
COMMENT, SCAN = 0xFE, 0xDA
FRAME = struct.Struct(">BHHB")
XMP = b"http://ns.adobe.com/xap/1.0/\0"
TURNED = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")
MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
"""Where pixels end: stuffed bytes and markers that stand alone, without a length behind them, don't end them."""
ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
USED_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
"""Of the optional ones of a PNG: transparency, and what belongs to an animation."""
TEXTS = (b"tEXt", b"zTXt", b"iTXt")


@dataclass(frozen=True, slots=True)
class Container:
    """A picture file's content.

    Attributes:
        data: for a decoder, without EXIF data, comments, profiles and thumbnails where the format allows.
        orientation: 1 to 8, as EXIF counts.
        plain_size: height and width of a plain JPEG, None for every other file. Plain means JFIF with 8 bits in one or
            three channels, without Adobe's or other application segments. libjpeg-turbo and Pillow decode such files
            the same way.
    """

    data: bytes
    orientation: int = 1
    plain_size: tuple[int, int] | None = None


def open_container(data: bytes) -> Container:
    """Look at a picture file; one of an unknown kind comes back as it is.

    Raises:
        ValueError: damaged, or a decoder would be busy with it for long.
    """
    if data.startswith(JPEG):
        return _jpeg(data)
    if data.startswith(PNG):
        return _png(data)
    if data.startswith(RIFF):
        chunks = {
            kind: data[start:end] for kind, start, end in _chunks(data, 12, "<4sI", 0) if kind in (b"EXIF", b"XMP ")
        }
        return Container(data, orientation(chunks.get(b"EXIF", b""), chunks.get(b"XMP ", b"")))
    return Container(data)


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """1 to 8, as EXIF data says, or XMP where that does not; 1 where nothing sensible is said."""
    if found := _in_exif(exif):
        return found
    match = TURNED.search(xmp)
    return int(match[1]) if match else 1


def _in_exif(exif: bytes) -> int:
    """0 where it isn't said."""
    exif = exif.removeprefix(EXIF)
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 0
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for place in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(f"{order}HHI", exif, place)
            if tag == ORIENTATION and kind in WHOLE_NUMBERS and number == 1:
                found = int(struct.unpack_from(order + WHOLE_NUMBERS[kind], exif, place + 8)[0])
                return found if 1 <= found <= 8 else 0
    except struct.error:
        pass  # damaged; the pixels may be whole
    return 0


def _jpeg(data: bytes) -> Container:
    kept, exif, xmp, size, is_plain = [data[:2]], b"", b"", None, data[2:11] == b"\xff\xe0\x00\x10" + JFIF
    scans = 0
    for marker, start, end in _segments(data):
        body = data[start:end]
        if marker == SCAN:
            scans, last = _scans(data, end)
            kept.append(data[start - 4 : last])
            break
        if marker in ALL_FRAMES and size is None:
            if len(body) < FRAME.size:
                raise ValueError(f"{DAMAGED}: its frame is cut; {REPLACE}")
            bits, height, width, channels = FRAME.unpack_from(body)
            size = height, width
            is_plain &= marker in FRAMES and bits == 8 and channels in (1, 3) and len(body) == 6 + 3 * channels
        elif marker in (0xE1, 0xE2) or marker == COMMENT:
            is_plain &= marker == COMMENT or body.startswith(EXIF)
            exif = exif or (body if body.startswith(EXIF) else b"")
            xmp = xmp or (body if body.startswith(XMP) else b"")
            continue
        elif not (marker in TABLES or (marker == 0xE0 and start == 6)):
            is_plain = False
            if 0xE0 <= marker <= 0xEF and marker not in (0xE0, ADOBE):
                continue
        kept.append(data[start - 4 : end])
    height, width = size or (0, 0)
    too_large = scans * height * width > MOST_SCANNED or (scans > FEW_SCANS and len(data) > MOST_BYTES)
    if scans > MOST_SCANS or too_large:
        raise ValueError(f"{scans} passes over {width}x{height} pixels, which takes too long; save it again")
    return Container(b"".join(kept), orientation(exif, xmp), size if is_plain else None)


def _scans(data: bytes, at: int) -> tuple[int, int]:
    """How many there are from the first one on, whose pixels start at a place, and where the picture ends."""
    scans = 1
    for _ in range(MOST_PARTS):
        found = MARKER.search(data, at)
        if found is None or found.end() + 2 > len(data):
            return scans, len(data)
        if found[1] == b"\xd9":
            return scans, found.end()
        scans += found[1][0] == SCAN
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    raise ValueError(f"over {MOST_PARTS} segments; save it again")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the content of a JPEG's segments, up to the first scan."""
    at = len(JPEG)
    for _ in range(MOST_PARTS):
        while data[at : at + 1] == b"\0" or data[at : at + 2] in (b"\xff\xff", b"\xff\0"):
            at += 1  # padding
        if len(data) < at + 4:
            raise ValueError(f"{DAMAGED}: it ends before its pixels; {REPLACE}")
        start, marker, length = struct.unpack_from(">BBH", data, at)
        if start != 0xFF or length < 2 or marker in ALONE:
            raise ValueError(f"{DAMAGED}: what stands before its pixels makes no sense; {REPLACE}")
        yield marker, at + 4, at + 2 + length
        if marker == SCAN:
            return
        at += 2 + length
    raise ValueError(f"over {MOST_PARTS} segments; save it again")


def _png(data: bytes) -> Container:
    kept, exif, xmp, pixels = [PNG], b"", b"", []
    for kind, start, end in _chunks(data, len(PNG), ">I4s", 4):
        if kind == b"eXIf":
            exif = data[start:end]
        elif kind in TEXTS:
            name, _, text = data[start:end].partition(b"\0")
            if name == b"Raw profile type exif":
                exif = exif or _raw_profile(_plain_text(kind, text))
            elif name == b"XML:com.adobe.xmp":
                xmp = _plain_text(kind, text)
        elif kind == b"IDAT":
            pixels.append(data[start:end])
        elif kind[:1].isupper() or kind in USED_CHUNKS:
            kept += [*_joined(pixels), data[start - 8 : end + 4]]
            pixels = []
    kept += _joined(pixels)
    return Container(b"".join(kept), orientation(exif, xmp))


def _joined(pixels: list[bytes]) -> list[bytes]:
    """One chunk of many, for which a decoder takes long; none of none."""
    body = b"IDAT" + b"".join(pixels)
    return [struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))] if pixels else []


def _plain_text(kind: bytes, text: bytes) -> bytes:
    """The text of a chunk behind its keyword."""
    is_compressed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"iTXt":
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif kind == b"zTXt":
        text = text[1:]
    try:
        return zlib.decompressobj().decompress(text, MOST_TEXT) if is_compressed else text
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> bytes:
    """EXIF data as ImageMagick writes it: a name, a number of bytes, and these in hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(text[:MOST_TEXT].split()[2:]).decode("ascii"))
    except ValueError:
        return b""


def _chunks(data: bytes, at: int, header: str, after: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of chunks that are whole.

    Args:
        at: where the first one starts.
        header: of a chunk: its kind and length, in the order of the format.
        after: bytes behind the content.
    """
    for _ in range(MOST_PARTS):
        if len(data) < at + 8:
            return
        first, second = struct.unpack_from(header, data, at)
        kind, length = (first, second) if isinstance(first, bytes) else (second, first)
        start, end = at + 8, at + 8 + length
        yield kind, start, min(end, len(data))
        at = end + after + (length % 2 if not after else 0)  # chunks of RIFF have even lengths
    raise ValueError(f"over {MOST_PARTS} chunks; save it again")
