"""Answers of a stream as a CSV file."""

from collections.abc import Mapping, Sequence
from csv import writer
from io import StringIO
from pathlib import Path

from dare.files import plain, replacing
from dare.identification.answer import Answer


def write_answers(
    path: Path, ids: Sequence[str], answers: Sequence[Answer], exit_names: Sequence[str], people: Mapping[int, str]
) -> None:
    """Write a line per query. Texts that a spreadsheet would take for a formula get a quote in front.

    Args:
        people: number -> name; those without are written as numbers.
    """
    lines = StringIO()
    table = writer(lines)
    table.writerow(["query", "exit", "macs", "confidence", "person", "distance", "picture", "problem"])
    for id, answer in zip(ids, answers, strict=True):
        hits = answer.hits
        name = exit_names[answer.exit] if answer.exit >= 0 else ""
        number = int(hits.people[0, 0]) if hits.ids.size else -1
        person = plain(people.get(number, str(number))) if number >= 0 else ""
        best = [person, hits.distances[0, 0], plain(str(hits.ids[0, 0]))] if hits.ids.size else ["", "", ""]
        table.writerow([plain(id), name, answer.macs, answer.confidence, *best, plain(answer.problem)])
    with replacing(path) as file:
        file.write(lines.getvalue().encode(errors="surrogateescape"))
