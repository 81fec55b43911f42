"""Pictures are read as documented, or refused by name and reason."""

import contextlib
import io
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from dare.images.preparation import Preparation, prepare, ten_crops
from dare.images.reading import UnreadableImageError, read, read_resized, unreadable

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 255, (41, 31, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_a_picture_is_read_as_rgb_rows(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(COLOURS))
    np.testing.assert_array_equal(read(path), COLOURS)


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "jpg"])
def test_the_content_decides_the_format_not_the_name(tmp_path: Path, suffix: str) -> None:
    named = save(tmp_path / f"a.{suffix}", Image.fromarray(COLOURS))
    misnamed = tmp_path / "b.jpg"
    misnamed.write_bytes(named.read_bytes())
    np.testing.assert_array_equal(read(misnamed), read(named))


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_pictures_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(COLOURS).convert(mode)
    path = save(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_shows_mid_grey(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "a.png", Image.new(mode, (20, 20), 0))
    np.testing.assert_array_equal(read(path), np.full((20, 20, 3), 127))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(COLOURS)
    # How a camera held that way stores the picture: the inverse of what the tag asks the reader to do.
    stored = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", stored, exif=exif)
    np.testing.assert_array_equal(read(path), COLOURS)


def jpeg() -> bytes:
    content = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 255, (128, 64, 3), dtype=np.uint8)).save(content, "JPEG")
    return content.getvalue()


def animated() -> bytes:
    content = io.BytesIO()
    frames = [Image.fromarray(np.roll(COLOURS, shift, 0)) for shift in range(3)]
    frames[0].save(content, "WEBP", save_all=True, append_images=frames[1:])
    return content.getvalue()


def sixteen_bit_grey() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(content, "PNG")
    return content.getvalue()


def sixteen_bit_colour() -> bytes:
    """A 16-bit RGB PNG, which Pillow cannot write and reads as if it had 8 bits."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20, 20, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + b"\x12\x34" * 60 for _ in range(20))
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


def cmyk() -> bytes:
    content = io.BytesIO()
    Image.fromarray(COLOURS).convert("CMYK").save(content, "JPEG")
    return content.getvalue()


def huge() -> bytes:
    content = io.BytesIO()
    Image.new("L", (3000, 3000)).save(content, "PNG")
    return content.getvalue()


def tiff() -> bytes:
    content = io.BytesIO()
    Image.fromarray(COLOURS).save(content, "TIFF")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"not a picture at all", "not a picture in one of the formats JPEG, PNG, WEBP, BMP"),
        (jpeg()[:2000], "truncated or damaged"),
        (tiff(), "not a picture in one of the formats"),
        (animated(), "animated"),
        (sixteen_bit_grey(), "16 bits or more a channel"),
        (sixteen_bit_colour(), "16 bits or more a channel"),
        (cmyk(), "colour mode CMYK"),
        (huge(), "3000x3000 pixels, at most 4 megapixels"),
        (b"\0" * 10_000_001, "10 MB large, at most 10 MB"),
    ],
    ids=["empty", "text", "truncated", "tiff", "animated", "grey 16", "colour 16", "cmyk", "huge", "large file"],
)
def test_what_cannot_be_used_is_refused_by_name_and_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "0001_c1s1_000001_01.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert unreadable([path])[0].path == path


def test_a_side_under_16_pixels_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (15, 80)))
    with pytest.raises(UnreadableImageError, match="15x80 pixels, at least 16"):
        read(path)


def test_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in [
        ("", "not a regular file"),
        ("pipe.jpg", "a pipe, expected a picture; give a regular file"),
        ("none.jpg", "cannot be read"),
    ]:
        with pytest.raises(UnreadableImageError, match=reason):
            read(tmp_path / name)


def test_every_truncation_is_noticed_or_harmless(tmp_path: Path) -> None:
    """A cut anywhere gives the typed error; only the two bytes of the end marker can be missed."""
    content = jpeg()
    for length in range(1, len(content) - 2, 97):
        path = tmp_path / "a.jpg"
        path.write_bytes(content[:length])
        with pytest.raises(UnreadableImageError):
            read(path)


def test_random_damage_never_raises_anything_else(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    contents = [jpeg(), animated(), sixteen_bit_grey(), cmyk(), tiff()]
    for number in range(300):
        content = bytearray(contents[number % len(contents)])
        for _ in range(random.integers(1, 8)):
            content[random.integers(len(content))] = random.integers(256)
        path = tmp_path / "a.jpg"
        path.write_bytes(bytes(content))
        with contextlib.suppress(UnreadableImageError):
            assert read(path).shape[2] == 3


def test_resizing_is_pillows_antialiased_bilinear(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(COLOURS))
    expected = np.asarray(Image.fromarray(COLOURS).resize((16, 24), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(read_resized(path, 24, 16), expected)


def test_preparing_is_torchvisions_to_tensor_and_normalize() -> None:
    from torchvision.transforms import functional

    preparation = Preparation(41, 31)
    expected = functional.normalize(
        functional.to_tensor(Image.fromarray(COLOURS)), list(preparation.mean), list(preparation.std)
    )
    np.testing.assert_allclose(prepare(COLOURS[None], preparation)[0], expected, atol=1e-6)


def test_ten_crops_are_torchvisions() -> None:
    from torchvision.transforms import functional

    expected = functional.ten_crop(Image.fromarray(COLOURS), [32, 24])
    crops = ten_crops(COLOURS[None], 32, 24)
    assert crops.shape == (10, 1, 32, 24, 3)
    for crop, wanted in zip(crops[:, 0], expected, strict=True):
        np.testing.assert_array_equal(crop, np.asarray(wanted))


def test_the_paper_crops_256x128_from_288x144() -> None:
    assert Preparation().uncropped == (288, 144)


def test_an_input_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 pixels"):
        Preparation(height=8)
    with pytest.raises(ValueError, match="standard deviations positive"):
        Preparation(std=(0.0, 1.0, 1.0))


DAMAGED_EXIF = {
    "orientation as text": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",
    "rubbish": b"Exif\0\0MM\0*rubbish",
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", DAMAGED_EXIF.values(), ids=DAMAGED_EXIF)
def test_a_damaged_exif_block_is_no_crash(tmp_path: Path, exif: bytes) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (32, 64), (200, 10, 10)).save(path, exif=exif)
    assert read(path).shape == (64, 32, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.png"
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 24, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    np.testing.assert_array_equal(read(path), np.asarray(ImageOps.exif_transpose(Image.open(path))))


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def exif_that_repeats(entries: int, size: int) -> bytes:
    """Each entry asks for the whole block."""
    entry = b"".join(struct.pack("<HHII", 0x8000 + number, 7, size, 0) for number in range(entries))
    return (b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", entries) + entry).ljust(size, b"\0")


def hidden(scans: int) -> bytes:
    """Scans behind a marker that has no length, where others have the length of all that follows."""
    data = progressive(0)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + (b"\xff\x01" + data[last:-2]) * scans + data[-2:]


def noisy(scans: int) -> bytes:
    """With many passes over few pixels, each of many bytes."""
    content = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    Image.fromarray(pixels).save(content, "JPEG", progressive=True, quality=90)
    data = content.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (3_000_000 // (len(data) - last) + scans) + data[-2:]


def progressive(scans: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.zeros((1600, 1600, 3), np.uint8)).save(content, "JPEG", progressive=True)
    data = content.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def png() -> bytes:
    content = io.BytesIO()
    Image.fromarray(COLOURS).save(content, "PNG")
    return content.getvalue()


def run_length_bmp() -> bytes:
    """8 bits, compressed by runs, one long line of them."""
    head = struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, 0, 0, 0, 256, 0)
    pixels = b"\x40\x01\0\0" * 64 + b"\0\1"
    start = 14 + 40 + 1024
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + head + bytes(1024) + pixels


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (progressive(200), "passes over 1600x1600 pixels"),
        (noisy(20), "passes over 400x400 pixels"),
        (hidden(300), "passes over 1600x1600 pixels"),
        (jpeg()[:2] + b"\xff\x01" + jpeg()[2:], "makes no sense"),
        (jpeg()[:2] + segment(0xFE, b"") * 60_000 + jpeg()[2:], "over 50000 segments"),
        (png()[:33] + chunk(b"teXt", b"") * 60_000 + png()[33:], "over 50000 chunks"),
        (run_length_bmp(), "a compressed BMP"),
    ],
    ids=["scans", "bytes of scans", "scans behind a lone marker", "a lone marker", "segments", "chunks", "runs"],
)
def test_a_file_made_to_keep_a_decoder_busy_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_that_asks_for_much_memory_gets_none(tmp_path: Path, kind: str) -> None:
    """Read as Pillow does, 4,000 entries of 60,000 bytes are 240 MB."""
    block = exif_that_repeats(4000, 60_000)
    content = (
        jpeg()[:2] + segment(0xE1, block) + jpeg()[2:]
        if kind == "JPEG"
        else png()[:33] + chunk(b"eXIf", block[6:]) + png()[33:]
    )
    (tmp_path / "a").write_bytes(content)
    tracemalloc.start()
    try:
        assert read(tmp_path / "a").ndim == 3
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return bytes(exif.tobytes())


def raw_profile() -> bytes:
    block = turned()
    return b"\nexif\n" + str(len(block)).encode() + b"\n" + block.hex().encode() + b"\n"


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
TURNED = {
    "PNG, text": png()[:33] + chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile()) + png()[33:],
    "PNG, compressed": png()[:33]
    + chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile()))
    + png()[33:],
    "PNG, XMP": png()[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP) + png()[33:],
    "JPEG, XMP": jpeg()[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP) + jpeg()[2:],
}


@pytest.mark.parametrize("content", TURNED.values(), ids=TURNED)
def test_an_orientation_is_found_wherever_it_stands(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    found = read(tmp_path / "a")
    with Image.open(tmp_path / "a") as opened:
        assert found.shape[:2] == opened.size
        np.testing.assert_array_equal(found, np.asarray(opened.transpose(Image.Transpose.ROTATE_270)))


def apng_of_one_frame() -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, COLOURS.shape[1], COLOURS.shape[0], 0, 0, 1, 1, 0, 0)
    return png()[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", control) + png()[33:]


def png_in_crumbs() -> bytes:
    whole, at, parts = png(), 33, b""
    length = struct.unpack(">I", whole[at : at + 4])[0]
    body = whole[at + 8 : at + 8 + length]
    for start in range(len(body)):
        parts += chunk(b"IDAT", body[start : start + 1])
    return whole[:at] + parts + whole[at + 12 + length :]


ODD_BUT_WHOLE = {
    "something behind it": jpeg() + RANDOM.bytes(5_000_000),
    "a scan's name in a comment between scans": progressive(3).replace(
        b"\xff\xda", b"\xff\xfe\x00\x06\xff\xd9\xff\xda\xff\xda", 1
    ),
    "zeros between segments": jpeg()[:20] + b"\0\0" + jpeg()[20:],
    "one frame": apng_of_one_frame(),
    "crumbs": png_in_crumbs(),
}


@pytest.mark.parametrize("content", ODD_BUT_WHOLE.values(), ids=ODD_BUT_WHOLE)
def test_what_is_odd_but_whole_is_read_as_pillow_does(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with Image.open(tmp_path / "a") as opened:
        np.testing.assert_array_equal(read(tmp_path / "a"), np.asarray(opened.convert("RGB")))
