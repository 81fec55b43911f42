"""The quick way of reading pictures gives what Pillow gives, refusals included."""

import io
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from dare.images import reading as images
from dare.images.containers import Container, open_container
from dare.images.pixels import resize
from dare.images.preparation import Preparation, prepare
from dare.images.reading import UnreadableImageError, decode, read, read_resized

BILINEAR = Image.Resampling.BILINEAR


def drawn(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise over slopes, so that both smooth and busy blocks occur."""
    random = np.random.default_rng(seed)
    slopes = np.add.outer(np.linspace(0, 150, height), np.linspace(0, 100, width))[..., None] * [1.0, 0.7, 0.4]
    return (slopes + random.normal(0, 25, (height, width, 3))).clip(0, 255).astype(np.uint8)


def jpeg(height: int = 128, width: int = 64, mode: str = "RGB", **options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(drawn(height, width)).convert(mode).save(content, "JPEG", **options)  # type: ignore[arg-type]
    return content.getvalue()


def by_pillow(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def plain_size(content: bytes) -> tuple[int, int] | None:
    """None also where the file is damaged."""
    try:
        return open_container(content).plain_size
    except ValueError:
        return None


@pytest.fixture
def pillow_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While set, no picture counts as plain."""
    switch = threading.Event()

    def opened(data: bytes) -> Container:
        return replace(open_container(data), **({"plain_size": None} if switch.is_set() else {}))

    monkeypatch.setattr(images, "open_container", opened)
    return switch


PLAIN: dict[str, dict[str, object]] = {
    **{
        f"quality {quality}, {sampling}": {"quality": quality, "subsampling": sampling}
        for quality, sampling in itertools.product((1, 30, 75, 95, 100), ("4:4:4", "4:2:2", "4:2:0"))
    },
    "grey": {"mode": "L"},
    "progressive": {"progressive": True},
    "progressive grey": {"progressive": True, "mode": "L"},
    "progressive, rough": {"progressive": True, "quality": 10},
    "optimised": {"optimize": True},
    "restart markers": {"restart_marker_blocks": 3},
    "restart markers by row": {"restart_marker_rows": 1, "progressive": True},
    "comment": {"comment": b"\xff\xd8 hello"},
    "smallest": {"height": 16, "width": 16},
    "odd": {"height": 131, "width": 67},
    "odd, no subsampling": {"height": 17, "width": 31, "subsampling": "4:4:4"},
    "odd, wide": {"height": 35, "width": 301, "subsampling": "4:2:2"},
    "street": {"height": 720, "width": 1280},
}


@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN)
def test_a_plain_jpeg_has_pillows_pixels(options: dict[str, object], tmp_path: Path) -> None:
    content = jpeg(**options)  # type: ignore[arg-type]
    expected = by_pillow(content)
    assert plain_size(content) == expected.shape[:2]
    decoded = decode(content)
    assert decoded is not None
    np.testing.assert_array_equal(decoded, expected)
    (tmp_path / "a.jpg").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize("sampling", ["411", "440"])
@pytest.mark.parametrize("size", [(128, 64), (37, 51)])
def test_colours_sampled_in_ways_pillow_does_not_write_are_read_as_pillow_does(
    sampling: str, size: tuple[int, int]
) -> None:
    content = simplejpeg.encode_jpeg(drawn(*size), colorsubsampling=sampling)
    assert plain_size(content) == size
    np.testing.assert_array_equal(decode(content), by_pillow(content))


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(exif=exif)


def two_frames() -> bytes:
    content = io.BytesIO()
    first, second = Image.fromarray(drawn(64, 32)), Image.fromarray(drawn(64, 32, 1))
    first.save(content, "MPO", save_all=True, append_images=[second])
    return content.getvalue()


def inserted(content: bytes, at: int, more: bytes) -> bytes:
    return content[:at] + more + content[at:]


def as_png() -> bytes:
    content = io.BytesIO()
    Image.fromarray(drawn(64, 32)).save(content, "PNG")
    return content.getvalue()


NOT_PLAIN = {
    "cmyk": jpeg(mode="CMYK"),
    "several pictures": two_frames(),
    "colour profile": jpeg(icc_profile=b"not much of a profile"),
    "adobe": inserted(jpeg(), 20, b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"),
    "short second header": inserted(jpeg(), 20, b"\xff\xe0\x00\x07JFIF\x00"),
    "no header": jpeg()[:2] + jpeg()[20:],
    "rubbish between segments": inserted(jpeg(), 20, b"rubbish"),
    "arithmetic coding": jpeg().replace(b"\xff\xc0", b"\xff\xc9"),
    "12 bits": jpeg().replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
    "header only": jpeg()[:300],
    "png": as_png(),
    "empty": b"",
}


@pytest.mark.parametrize("content", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_asks_for_interpretation_is_not_plain(content: bytes) -> None:
    assert plain_size(content) is None


DOUBTFUL = {
    "cut": jpeg()[:3000],
    "cut progressive": jpeg(progressive=True)[:2000],
    "no end marker": jpeg()[:-2],
    "bytes before a marker": inserted(jpeg(), len(jpeg()) - 2, b"\x00\x00\x01\x02\x03"),
}


@pytest.mark.parametrize("content", DOUBTFUL.values(), ids=DOUBTFUL)
def test_the_slightest_doubt_about_the_pixels_is_left_to_pillow(content: bytes) -> None:
    assert plain_size(content) is not None
    assert decode(content) is None


def outcome(path: Path) -> NDArray[np.uint8] | str:
    try:
        return read(path)
    except UnreadableImageError as problem:
        return problem.reason


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Cut, or with bits flipped, bytes replaced, removed, repeated or inserted; half of it in the header."""
    reach = len(content) if random.random() < 0.5 else min(len(content), 650)
    at, kind = int(random.integers(reach)), random.integers(6)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return inserted(content, at, random.bytes(int(random.integers(1, 6))))
    if kind == 2:
        return content[:at] + content[at + int(random.integers(1, 6)) :]
    if kind == 3:
        return inserted(content, at, content[at : at + int(random.integers(2, 200))])
    changed = bytearray(content)
    for _ in range(random.integers(1, 4)):
        place = int(random.integers(reach))
        changed[place] = changed[place] ^ (1 << random.integers(8)) if kind == 4 else random.integers(256)
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")  # Pillow's, about damage
def test_damaged_pictures_are_accepted_refused_and_read_as_by_pillow_alone(
    tmp_path: Path, pillow_only: threading.Event
) -> None:
    random = np.random.default_rng(0)
    bases = [jpeg(40, 24), jpeg(33, 21, progressive=True), jpeg(40, 24, "L"), jpeg(40, 24, restart_marker_blocks=2)]
    bases += [jpeg(40, 24, subsampling="4:4:4", quality=95), two_frames(), with_exif()]
    path, by_decoder, accepted = tmp_path / "a.jpg", 0, 0
    for number in range(3000):
        content = mutated(bases[number % len(bases)], random)
        path.write_bytes(content)
        pillow_only.clear()
        found = outcome(path)
        pillow_only.set()
        expected = outcome(path)
        np.testing.assert_array_equal(found, expected, f"mutation {number}")
        accepted += not isinstance(found, str)
        size = plain_size(content)
        by_decoder += size is not None and min(size) >= 16 and decode(content) is not None
    assert 200 < by_decoder < accepted < 2800, "nothing was compared"


@pytest.mark.parametrize(("height", "width"), [(15, 40), (40, 15), (2500, 2500)])
def test_limits_of_size_are_judged_by_the_header(
    height: int, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "decode", lambda data: pytest.fail("decoded"))
    (tmp_path / "a.jpg").write_bytes(jpeg(height, width, "L"))
    with pytest.raises(UnreadableImageError, match=f"{width}x{height} pixels"):
        read(tmp_path / "a.jpg")


SIZES = [
    (128, 64, 256, 128),
    (128, 64, 288, 144),
    (128, 64, 128, 64),
    (128, 100, 128, 64),
    (300, 128, 256, 128),
    (300, 120, 256, 128),
    (300, 200, 200, 150),
    (301, 200, 200, 150),
    (17, 501, 256, 128),
    (16, 16, 384, 128),
    (720, 1280, 64, 32),
]


def by_two_passes(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Each pass by Pillow, whose own order depends on its version."""
    image = Image.fromarray(pixels)
    lost = image.height - height
    rows_first = lost > 0 and lost > 2 * (image.width - width)
    between = (image.width, height) if rows_first else (width, image.height)
    return np.asarray(image.resize(between, BILINEAR).resize((width, height), BILINEAR))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_resizing_is_pillows_to_the_last_bit(size: tuple[int, int, int, int]) -> None:
    pixels = drawn(*size[:2])
    pixels[::7, ::5] = 255
    pixels[1::9, 2::4] = 0
    resized = resize(pixels, *size[2:])
    np.testing.assert_array_equal(resized, by_two_passes(pixels, *size[2:]))
    in_one_call = np.asarray(Image.fromarray(pixels).resize((size[3], size[2]), BILINEAR))
    assert np.abs(resized.astype(int) - in_one_call).max() <= 1
    if size[2] >= size[0]:
        np.testing.assert_array_equal(resized, in_one_call)


def test_resizing_is_pillows_for_every_pair_of_lengths() -> None:
    random = np.random.default_rng(2)
    for _ in range(300):
        height, width, new_height, new_width = random.integers(16, 300, 4).tolist()
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = by_two_passes(pixels, new_height, new_width)
        np.testing.assert_array_equal(resize(pixels, new_height, new_width), expected)


def test_white_stays_white_under_thousands_of_rounded_weights() -> None:
    white = np.full((16, 90_000, 3), 255, np.uint8)
    assert (resize(white, 16, 16) == 255).all()


def test_resizing_leaves_its_picture_alone_and_takes_any_layout() -> None:
    pixels = drawn(60, 40)
    mirrored = pixels[:, ::-1]
    mirrored.flags.writeable = False
    before = pixels.copy()
    np.testing.assert_array_equal(resize(mirrored, 32, 48), resize(mirrored.copy(), 32, 48))
    np.testing.assert_array_equal(pixels, before)


def by_formula(pictures: NDArray[np.uint8], preparation: Preparation) -> NDArray[np.float32]:
    std = np.asarray(preparation.std, np.float32)
    scale = np.float32(1) / (np.float32(255) * std)
    shift = np.asarray(preparation.mean, np.float32) / std
    return np.ascontiguousarray((pictures * scale - shift).transpose(0, 3, 1, 2))


def test_preparing_is_its_formula_to_the_last_bit() -> None:
    every_value = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    pictures = np.concatenate([every_value, drawn(16, 16)[None], drawn(16, 16, 1)[None]])
    preparation = Preparation(16, 16)
    np.testing.assert_array_equal(prepare(pictures, preparation), by_formula(pictures, preparation))
    mirrored = pictures[:, :, ::-1]
    np.testing.assert_array_equal(prepare(mirrored, preparation), by_formula(mirrored, preparation))
    assert prepare(pictures[:0], preparation).shape == (0, 3, 16, 16)


@pytest.mark.parametrize(("height", "width"), [(256, 128), (128, 64)])
def test_a_file_is_prepared_as_by_pillow_and_the_formula(height: int, width: int, tmp_path: Path) -> None:
    preparation = Preparation(height, width)
    for number, content in enumerate([jpeg(), jpeg(mode="L"), jpeg(progressive=True), with_exif(), as_png()]):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(content)
        turned = by_pillow(content) if number != 3 else np.rot90(by_pillow(content), -1)
        expected = by_formula(by_two_passes(np.ascontiguousarray(turned), height, width)[None], preparation)
        np.testing.assert_array_equal(prepare(read_resized(path, height, width)[None], preparation), expected)


def test_embeddings_do_not_depend_on_who_decodes(tmp_path: Path, pillow_only: threading.Event) -> None:
    import torch

    from dare.models import BACKBONES
    from dare.models.dare import DaRe

    torch.manual_seed(0)
    preparation = Preparation(64, 32)
    network = DaRe(BACKBONES["slim"]()).eval()
    paths = [tmp_path / f"{number}.jpg" for number in range(4)]
    for path, options in zip(paths, ({}, {"quality": 30}, {"progressive": True}, {"mode": "L"}), strict=True):
        path.write_bytes(jpeg(**options))  # type: ignore[arg-type]

    def embedded() -> list[NDArray[np.float32]]:
        inputs = prepare(np.stack([read_resized(path, 64, 32) for path in paths]), preparation)
        with torch.inference_mode():
            return [vectors.numpy() for vectors in network.exits(torch.from_numpy(inputs))]

    quick = embedded()
    pillow_only.set()
    for one, other in zip(quick, embedded(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_threads_read_alike(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(8)]
    for number, path in enumerate(paths):
        path.write_bytes(jpeg(100 + number, 60))
    expected = [read_resized(path, 128, 64) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        for found, wanted in zip(
            pool.map(lambda path: read_resized(path, 128, 64), paths * 20), expected * 20, strict=True
        ):
            np.testing.assert_array_equal(found, wanted)
