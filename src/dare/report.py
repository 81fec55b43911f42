"""A self-contained HTML page of an evaluation: figures per exit, and ranked lists as in figure 7 of the paper."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from numpy.typing import NDArray

from dare import __version__
from dare.datasets.sample import JUNK
from dare.evaluation import Evaluation, StageResult
from dare.files import replacing
from dare.retrieval.distances import normalised
from dare.retrieval.reranking import RerankedDistances, Reranking
from dare.thumbnails import thumbnail

TEMPLATE = Path(__file__).with_name("report.html")
LISTED = 5

# Which probes to show: how many that are right from the first embedding on, right only at the end, wrong at the end.
WANTED = {"easy": 2, "hard": 3, "missed": 1}
MEANING = {
    "easy": "right from the first exit on",
    "hard": "wrong at the first exit, right at the last",
    "missed": "wrong at the last exit",
}


@dataclass(frozen=True, slots=True)
class _Picture:
    """A framed thumbnail: frame is "right", "wrong" or "probe"."""

    data: str
    frame: str
    caption: str


@dataclass(frozen=True, slots=True)
class _Probe:
    kind: str
    picture: _Picture
    lists: list[tuple[str, list[_Picture]]]


@dataclass(frozen=True, slots=True)
class _Point:
    """A dot of the plot, in its own coordinates."""

    x: float
    y: float
    label: str


def write_report(path: str | Path, evaluation: Evaluation) -> None:
    """Write the page in one piece; pictures are inside it, so mind the terms of the data set before you share it."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        evaluation=evaluation,
        benchmark=evaluation.benchmark,
        plot=_plot(evaluation),
        probes=_probes(evaluation),
        meaning=MEANING,
        version=__version__,
    )
    with replacing(Path(path)) as file:
        file.write(page.encode(errors="backslashreplace"))  # names that are no UTF-8


def _plot(evaluation: Evaluation) -> dict[str, list[_Point]] | None:
    """Rank-1 and mAP over multiply-adds, 0..100 on both axes; None where costs are unknown."""
    exits = [(exit, exit.macs) for exit in evaluation.exits if exit.macs is not None]
    if not exits or not exits[0][0].scores.matched.any():
        return None
    most = max(macs for _, macs in exits)

    def points(figure: str) -> list[_Point]:
        return [
            _Point(100 * macs / most, 100 * _figure(exit, figure), f"{exit.name}: {100 * _figure(exit, figure):.1f}")
            for exit, macs in exits
        ]

    return {"rank-1": points("rank-1"), "mAP": points("mAP")}


def _figure(exit: StageResult, name: str) -> float:
    return exit.scores.cmc(1) if name == "rank-1" else exit.scores.mean_average_precision


def _probes(evaluation: Evaluation) -> list[_Probe]:
    chosen = _chosen(evaluation)
    if not chosen:
        return []
    rows = [row for _, row in chosen]
    nearest = [(result.name, _nearest(evaluation, vectors, rows)) for result, vectors in _vectors(evaluation)]
    probes = []
    for number, (kind, row) in enumerate(chosen):
        query_id = evaluation.query.ids[row]
        lists = [(name, [_entry(evaluation, row, entry) for entry in entries[number]]) for name, entries in nearest]
        picture = _Picture(thumbnail(evaluation.benchmark.root / query_id), "probe", query_id)
        probes.append(_Probe(kind, picture, lists))
    return probes


def _chosen(evaluation: Evaluation) -> list[tuple[str, int]]:
    """A few queries of each kind, spread over the query list."""
    first, last = evaluation.exits[0].scores, evaluation.exits[-1].scores
    kinds = {
        "easy": (first.first_match == 0) & (last.first_match == 0),
        "hard": (first.first_match > 0) & (last.first_match == 0),
        "missed": last.first_match > 0,
    }
    chosen = []
    for kind, rows in kinds.items():
        found = np.flatnonzero(rows)
        count = min(WANTED[kind], len(found))
        chosen += [(kind, int(found[place])) for place in np.linspace(0, len(found) - 1, count).astype(int)]
    return chosen


def _vectors(
    evaluation: Evaluation,
) -> list[tuple[StageResult, tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    """Query and gallery vectors of every result, in the results' order."""
    query, gallery = evaluation.query, evaluation.gallery
    pairs = list(zip(query.stages, gallery.stages, strict=True))
    if query.fused is not None and gallery.fused is not None:
        pairs.append((query.fused, gallery.fused))
    if evaluation.distance == "cosine":
        pairs = [(normalised(q), normalised(g)) for q, g in pairs]
    return list(zip(evaluation.results, pairs, strict=True))


def _nearest(
    evaluation: Evaluation, vectors: tuple[NDArray[np.float32], NDArray[np.float32]], rows: list[int]
) -> list[list[int]]:
    """The first valid gallery rows for each of these queries, by the protocol of `dare.retrieval.scoring`."""
    query, gallery = evaluation.query, evaluation.gallery
    no_junk = np.flatnonzero(gallery.people != JUNK)
    distances = _distances(evaluation.rerank, vectors, no_junk)
    lists = []
    for row in rows:
        own = (gallery.people == query.people[row]) & (gallery.cameras == query.cameras[row])
        nearest = no_junk[np.argsort(distances(row), kind="stable")]
        lists.append([int(entry) for entry in nearest[~own[nearest]][:LISTED]])
    return lists


def _distances(
    rerank: Reranking | None, vectors: tuple[NDArray[np.float32], NDArray[np.float32]], no_junk: NDArray[np.intp]
) -> Callable[[int], NDArray[np.floating]]:
    """What gives a query's distances to all gallery entries but junk."""
    q, g = vectors
    if rerank is None:
        return lambda row: np.square(g[no_junk].astype(np.float64) - q[row]).sum(1)
    if not rerank.junk:
        among_valid = RerankedDistances(q, g[no_junk], rerank)
        return lambda row: among_valid.block(row, row + 1)[0]
    among_all = RerankedDistances(q, g, rerank)
    return lambda row: among_all.block(row, row + 1)[0, no_junk]


def _entry(evaluation: Evaluation, row: int, entry: int) -> _Picture:
    gallery = evaluation.gallery
    right = gallery.people[entry] == evaluation.query.people[row]
    data = thumbnail(evaluation.benchmark.root / gallery.ids[entry])
    return _Picture(data, "right" if right else "wrong", gallery.ids[entry])
