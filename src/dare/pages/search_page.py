"""A self-contained HTML page of answers: each query, and the people found, nearest first."""

from collections.abc import Sequence
from pathlib import Path

from dare.gallery.store import Gallery
from dare.identification.answer import Answer
from dare.pages.page import thumbnail, write_page


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
