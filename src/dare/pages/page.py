"""Self-contained HTML pages: their templates filled in, their pictures inside them as data URIs."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dare import __version__
from dare.evaluation.evaluate import percent
from dare.files import replacing
from dare.gallery.store import Gallery
from dare.identification.answer import Answer
from dare.images.reading import UnreadableImageError, read

HEIGHT = 96

RAMP = np.array([(0, 0, 60), (60, 10, 120), (160, 35, 110), (225, 85, 50), (250, 165, 10), (252, 250, 150)], np.float64)
"""Colours from weak to strong, steadily brighter, so that they can be told apart without seeing colours."""

COVER = 0.6
"""How much of a picture the colours hide."""


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fill in the template beside this file and write the page in one piece."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = percent
    source = Path(__file__).with_name(template).read_text(encoding="utf-8")
    page = environment.from_string(source).render(version=__version__, **values)
    with replacing(path) as file:
        file.write(page.encode(errors="backslashreplace"))  # file names that aren't valid UTF-8


def write_search_page(
    path: Path, found: Sequence[tuple[Path, Answer]], gallery: Gallery, exit_names: Sequence[str]
) -> None:
    """Write the page in one piece; it holds the pictures, so note which people it shows before you share it."""
    entries = gallery.get(str(id) for _, answer in found for id in answer.hits.ids[0])
    answers = [
        {
            "query": str(query),
            "picture": thumbnail(query),
            "answer": answer,
            "exit": exit_names[answer.exit],
            "hits": [
                {"entry": entries[str(id)], "distance": distance, "picture": thumbnail(Path(entries[str(id)].picture))}
                for id, distance in zip(answer.hits.ids[0], answer.hits.distances[0], strict=True)
                if str(id) in entries
            ],
        }
        for query, answer in found
    ]
    write_page(path, "search_page.html", answers=answers)


def thumbnail(path: Path) -> str:
    """The picture as a data URI; a grey box where it can no longer be read."""
    return _as_uri(_small(path))


def overlay(path: Path, strength: NDArray[np.floating]) -> str:
    """The picture in grey under colours that say how strong each place is, as a data URI.

    Args:
        strength: (h, w), from the picture's upper left corner to its lower right, not negative. The strongest place is
            the end of `RAMP`, 0 its beginning.
    """
    image = _small(path)
    strongest = float(np.max(strength)) or 1.0  # an empty map is dark all over
    places = Image.fromarray(np.asarray(strength / strongest, np.float32))
    share = np.asarray(places.resize(image.size, Image.Resampling.BILINEAR))
    steps = np.linspace(0, 1, len(RAMP))
    colours = np.stack([np.interp(share, steps, channel) for channel in RAMP.T], axis=-1)
    grey = np.asarray(image.convert("L"), np.float64)[..., None]
    return _as_uri(Image.fromarray(((1 - COVER) * grey + COVER * colours).round().astype(np.uint8)))


def _small(path: Path) -> Image.Image:
    try:
        image = Image.fromarray(read(path))
    except UnreadableImageError:
        image = Image.new("RGB", (HEIGHT // 2, HEIGHT), (127, 127, 127))
    width = round(image.width * HEIGHT / image.height)
    return image.resize((min(max(1, width), 2 * HEIGHT), HEIGHT))


def _as_uri(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
