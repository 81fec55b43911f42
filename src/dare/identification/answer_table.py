"""Answers of a stream as a CSV file."""

from collections.abc import Sequence
from csv import writer
from io import StringIO
from pathlib import Path

from dare.files import plain, replacing
from dare.identification.answer import Answer


def write_answers(path: Path, ids: Sequence[str], answers: Sequence[Answer], exit_names: Sequence[str]) -> None:
    """Write a line per query. Texts that a spreadsheet would take for a formula get a quote in front."""
    lines = StringIO()
    table = writer(lines)
    table.writerow(["query", "exit", "macs", "confidence", "person", "camera", "distance", "picture", "problem"])
    for id, answer in zip(ids, answers, strict=True):
        hits = answer.hits
        name = exit_names[answer.exit] if answer.exit >= 0 else ""
        best: list[object] = ["", "", "", ""]
        if hits.ids.size:
            person, camera, picture = (plain(str(of[0, 0])) for of in (hits.names, hits.camera_names, hits.ids))
            best = [person, camera, hits.distances[0, 0], picture]
        table.writerow([plain(id), name, answer.macs, answer.confidence, *best, plain(answer.problem)])
    with replacing(path) as file:
        file.write(lines.getvalue().encode(errors="surrogateescape"))
