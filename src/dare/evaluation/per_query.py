"""How each query did at every exit, as a CSV file: what CMC, mAP and mINP are the means of."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from dare.evaluation.evaluate import Evaluation
from dare.files import plain, replacing


def write_per_query(path: str | Path, evaluation: Evaluation) -> None:
    """Write a line per query and embedding, in one piece.

    `rank` is that of the first match, counted from 1: CMC at rank r is the share of lines with at most r among those
    that have one. Cells are empty without a valid match. People and cameras without a name are numbers.
    """
    lines = io.StringIO()
    table = csv.writer(lines)
    table.writerow(["query", "person", "camera", "exit", "is_exit", "rank", "AP", "INP", "tied"])
    query, benchmark = evaluation.query, evaluation.benchmark
    labels = list(zip(query.ids, query.people.tolist(), query.cameras.tolist(), strict=True))
    for result in evaluation.results:
        scores = result.scores
        figures = zip(
            scores.first_match.tolist(),
            scores.average_precision.tolist(),
            scores.inverse_negative_penalty.tolist(),
            scores.tied.tolist(),
            strict=True,
        )
        for (id, person, camera), (first, precision, penalty, tied) in zip(labels, figures, strict=True):
            seen_by = _called(benchmark.camera_names, camera) if benchmark.cameras_known else ""
            who = [plain(id), _called(benchmark.names, person)]
            cells = ["", "", ""] if first < 0 else [first + 1, precision, penalty]
            table.writerow([*who, seen_by, result.name, int(result.is_exit), *cells, int(tied)])
    with replacing(Path(path)) as file:
        file.write(lines.getvalue().encode(errors="surrogateescape"))


def _called(names: Mapping[int, str], number: int) -> str | int:
    return plain(names[number]) if number in names else number
