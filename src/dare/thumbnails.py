"""Pictures inside a page, as data URIs."""

import base64
import io
from pathlib import Path

from PIL import Image

from dare.images import UnreadableImageError, read

HEIGHT = 96


def thumbnail(path: Path) -> str:
    """The picture as a data URI; a grey box where it can no longer be read."""
    try:
        image = Image.fromarray(read(path))
    except UnreadableImageError:
        image = Image.new("RGB", (HEIGHT // 2, HEIGHT), (127, 127, 127))
    width = round(image.width * HEIGHT / image.height)
    image = image.resize((min(max(1, width), 2 * HEIGHT), HEIGHT))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
