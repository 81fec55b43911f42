"""A self-contained HTML page of an evaluation: figures and curves per exit, ranked lists, where the network looked."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.evaluation.evaluate import CMC_RANKS, Evaluation, percent
from dare.evaluation.ranked_lists import Vectors, nearest, vectors_of
from dare.images.reading import UnreadableImageError
from dare.pages.charts import accuracy_over_cost, match_curves, pair_histogram
from dare.pages.embedding_map import FEWEST, embedding_map, lay_out, names, neighbours_agree, sample, shown_rows
from dare.pages.page import overlay, thumbnail, write_page
from dare.verification.decisions import threshold_at
from dare.verification.pairs import Pairs
from dare.verification.rates import check_rate

LISTED = 5
HISTOGRAM_BINS = 64

# Which probes to show: how many that are right at the start and the end, right only at the end, wrong at the end.
WANTED = {"easy": 2, "hard": 3, "missed": 1}
MEANING = {
    "easy": "right at the first exit and at the last",
    "hard": "wrong at the first exit, right at the last",
    "missed": "wrong at the last exit",
}

Look = Callable[[Path], Mapping[str, NDArray[np.floating]]]
"""A picture's activation maps, (h, w) each, by the names of the evaluation's results."""


def write_report(
    path: str | Path,
    evaluation: Evaluation,
    *,
    look: Look | None = None,
    false_match_rate: float = 0.001,
    embedding_maps: bool = False,
    seed: int = 0,
) -> None:
    """Write the page in one piece; it holds pictures, so check the terms of the data set before you share it.

    Args:
        look: what gives a picture's activation maps, such as `functools.partial(maps_of_picture, checkpoint)`;
            without it the page has none.
        false_match_rate: where the distances of pairs have their mark: the share of the pairs of two people below it.
        embedding_maps: lay out the vectors of a few people on a plane, about two seconds an exit.
        seed: of that.

    Raises:
        ImportError: embedding maps without scikit-learn; says what to install.
        ValueError: a rate that is not between 0 and 1.
    """
    check_rate(false_match_rate)
    vectors = vectors_of(evaluation)
    write_page(
        Path(path),
        "report.html",
        evaluation=evaluation,
        benchmark=evaluation.benchmark,
        costs=_costs(evaluation),
        matches=_matches(evaluation),
        histograms=_histograms(evaluation, vectors, false_match_rate),
        rate=f"{100 * false_match_rate:g} %",
        maps=_maps(evaluation, vectors, seed) if embedding_maps else None,
        probes=_probes(evaluation, vectors, look),
        looked=look is not None,
        meaning=MEANING,
    )


def _costs(evaluation: Evaluation) -> str | None:
    """Rank-1 and mAP over multiply-adds; None where costs are unknown."""
    exits = [(exit, exit.macs) for exit in evaluation.exits if exit.macs is not None]
    if not exits or not exits[0][0].scores.matched.any():
        return None
    most = max(macs for _, macs in exits)
    measures = {
        "rank-1": [100 * exit.scores.cmc(1) for exit, _ in exits],
        "mAP": [100 * exit.scores.mean_average_precision for exit, _ in exits],
    }
    return accuracy_over_cost([exit.name for exit, _ in exits], [100 * macs / most for _, macs in exits], measures)


def _matches(evaluation: Evaluation) -> str | None:
    """Match curves; None where no query has a match."""
    if not evaluation.exits[0].scores.matched.any():
        return None
    ranks = min(CMC_RANKS, len(evaluation.gallery))
    return match_curves({exit.name: exit.scores.cmc_curve(ranks) for exit in evaluation.exits})


def _histograms(evaluation: Evaluation, vectors: list[Vectors], rate: float) -> list[dict[str, Any]]:
    """Of each exit that has pairs of both kinds: `below` is the share of one person's pairs below the threshold."""
    found = []
    for exit, (q, g) in zip(evaluation.results, vectors, strict=True):
        pairs = Pairs(q, g, evaluation.query, evaluation.gallery) if exit.is_exit else None
        if pairs is None or not len(pairs.genuine) or not pairs.impostors:
            continue
        threshold = threshold_at(pairs, rate)
        below = float((pairs.genuine < threshold).mean()) if threshold is not None else 0.0
        binned, meaning = pairs.counts.binned(HISTOGRAM_BINS), f"{100 * rate:g} % of others"
        drawing = pair_histogram(exit.name, *binned, unit=evaluation.unit, threshold=threshold, meaning=meaning)
        found.append({"name": exit.name, "drawing": drawing, "threshold": threshold, "below": below})
    return found


def _maps(evaluation: Evaluation, vectors: list[Vectors], seed: int) -> dict[str, list[tuple[Any, ...]]] | None:
    """Maps of the exits, each a name, a drawing (None if all vectors are equal) and how many nearest points agree, and
    the legends of people and cameras; None where too few pictures have a match."""
    query, gallery, benchmark = evaluation.query, evaluation.gallery, evaluation.benchmark
    asked, listed = shown_rows(evaluation)
    numbers = np.concatenate([query.people[asked], gallery.people[listed]])
    if len(numbers) < FEWEST:
        return None
    people = [benchmark.names.get(int(number), f"person {number}") for number in numbers]
    seen_by = np.concatenate([query.cameras[asked], gallery.cameras[listed]])
    order = np.lexsort([seen_by, numbers])
    called, known = benchmark.camera_names, benchmark.cameras_known
    cameras = [called.get(int(number), f"camera {number}") if known else "" for number in seen_by]
    # Colours and shapes go by number, whatever the order of the rows.
    by_camera = names([cameras[place] for place in np.argsort(seen_by, kind="stable")])
    labels = [people[place] for place in order], [cameras[place] for place in order]
    drawings: list[tuple[Any, ...]] = []
    for result, (q, g) in zip(evaluation.results, vectors, strict=True):
        if not result.is_exit:
            continue
        shown = np.concatenate([q[asked], g[listed]])[order]
        if (shown == shown[0]).all():
            drawings.append((result.name, None, 0.0))
            continue
        places = lay_out(shown, seed)
        agree = neighbours_agree(places, numbers[order], seen_by[order])
        about = f"laid out by t-SNE; the nearest point of another camera is of the same person for {percent(agree)} %"
        drawings.append((result.name, embedding_map(result.name, places, *labels, by_camera, about), agree))
    return {
        "drawings": drawings,
        "people": [(sample("person", place), name) for place, name in enumerate(names(labels[0]))],
        "cameras": [(sample("camera", place), name) for place, name in enumerate(by_camera) if name],
    }


def _probes(evaluation: Evaluation, vectors: list[Vectors], look: Look | None) -> list[dict[str, Any]]:
    """A probe's kind and picture, and per result its list; `look` is where the network answers, if that is known."""
    chosen = _chosen(evaluation)
    entries = [nearest(evaluation, pair, [row for _, row in chosen], LISTED) for pair in vectors]
    probes = []
    for number, (kind, row) in enumerate(chosen):
        query_id = evaluation.query.ids[row]
        path = evaluation.benchmark.root / query_id
        looks = _looks(look, path)
        lists = []
        for result, found in zip(evaluation.results, entries, strict=True):
            looked = None
            if result.name in looks:
                looked = _picture(overlay(path, looks[result.name]), "look", f"where {result.name} answers")
            pictures = [_entry(evaluation, row, entry) for entry in found[number]]
            lists.append({"name": result.name, "look": looked, "pictures": pictures})
        probes.append({"kind": kind, "picture": _picture(thumbnail(path), "probe", query_id), "lists": lists})
    return probes


def _picture(data: str, frame: str, caption: str) -> dict[str, str]:
    """A framed thumbnail: frame is "right", "wrong", "probe" or "look"."""
    return {"data": data, "frame": frame, "caption": caption}


def _looks(look: Look | None, path: Path) -> Mapping[str, NDArray[np.floating]]:
    """Nothing for a picture that can no longer be read: its thumbnail is a grey box too."""
    try:
        return look(path) if look else {}
    except UnreadableImageError:
        return {}


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


def _entry(evaluation: Evaluation, row: int, entry: int) -> dict[str, str]:
    gallery = evaluation.gallery
    right = gallery.people[entry] == evaluation.query.people[row]
    data = thumbnail(evaluation.benchmark.root / gallery.ids[entry])
    return _picture(data, "right" if right else "wrong", gallery.ids[entry])
