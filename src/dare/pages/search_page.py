"""A self-contained HTML page of answers: each query, and the people found, nearest first."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from dare import __version__
from dare.files import replacing
from dare.gallery.store import Gallery
from dare.identification.answer import Answer
from dare.pages.page import thumbnail

TEMPLATE = Path(__file__).with_name("search_page.html")


def write_search_page(
    path: Path, found: Sequence[tuple[Path, Answer]], gallery: Gallery, exit_names: Sequence[str]
) -> None:
    """Write the page in one piece; pictures are inside it, so mind whom it shows before you pass it on."""
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
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(answers=answers, version=__version__)
    with replacing(path) as file:
        file.write(page.encode(errors="backslashreplace"))  # names that are no UTF-8
