"""Multi-query: all pictures of a person at a camera ask together."""

from dataclasses import replace

from dare.datasets.market import HAND_DRAWN, hand_drawn
from dare.datasets.sample import Benchmark


def multi_query(benchmark: Benchmark) -> Benchmark:
    """A benchmark whose queries are all pictures that ask together, for `evaluate(..., multi_query="mean")`.

    Market-1501 has one query per person and camera, and for this protocol hand-drawn boxes in gt_bbox/: those of the
    queries' people and cameras are taken where that folder is there. Elsewhere the queries stay what they are. A note
    says which it was.

    Raises:
        ValueError: cameras are not known, or a person and camera that are asked for have no hand-drawn box.

    Source: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
    """
    if not benchmark.cameras_known:
        raise ValueError(
            "multi-query joins the pictures of a person at a camera, and cameras are not known here; "
            "leave it out, or give camera numbers"
        )
    asked = {(sample.person, sample.camera) for sample in benchmark.query}
    boxes = hand_drawn(benchmark.root) if benchmark.name == "market1501" else ()
    if not boxes:
        note = "multi-query: the query pictures themselves, joined by person and camera"
        if benchmark.name == "market1501":
            note += f"; there is no {HAND_DRAWN}/, so each asks alone, as in single-query"
        return benchmark if note in benchmark.notes else replace(benchmark, notes=(*benchmark.notes, note))
    joined = tuple(box for box in boxes if (box.person, box.camera) in asked)
    if lacking := asked - {(box.person, box.camera) for box in joined}:
        person, camera = min(lacking)
        raise ValueError(
            f"{benchmark.root / HAND_DRAWN} has no picture of person {person} at camera {camera}, who is asked for "
            f"({len(lacking)} such queries); unpack it again, or move it away for queries without hand-drawn boxes"
        )
    note = f"multi-query: the hand-drawn boxes in {HAND_DRAWN}/, joined by person and camera"
    return replace(benchmark, query=joined, notes=(*(old for old in benchmark.notes if old != note), note))
