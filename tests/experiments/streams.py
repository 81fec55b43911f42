"""Small streams drawn by chance, whose deeper exits are better and surer."""

from pathlib import Path

import numpy as np

from dare.anytime.costs import ExitCosts, ExitTimes
from dare.datasets.sample import Benchmark, Sample
from dare.evaluation.evaluate import Evaluation, evaluate
from dare.experiments.accuracy import Outcomes
from dare.experiments.query_stream import QueryStream
from dare.retrieval.distances import Space
from dare.retrieval.embeddings import Embeddings

COSTS = ExitCosts((10, 25, 40, 60), "made up")
TIMES = ExitTimes(
    (0.001, 0.002, 0.003, 0.005), (0.002, 0.003, 0.004, 0.006), (0.002, 0.001, 0.001, 0.002), 0.002, "too"
)


def drawn_stream(queries: int = 200, seed: int = 0, exits: int = 4) -> QueryStream:
    """Every tenth query has no match."""
    random = np.random.default_rng(seed)
    easiness = random.normal(size=queries)
    sure = easiness + 0.7 * random.normal(size=(3, exits, queries)) + 0.4 * np.arange(exits)[:, None]
    right = (sure[1] + 0.3 * random.normal(size=(exits, queries)) > 0).astype(np.float64)
    precision = np.clip(0.3 * right + 0.1 * np.arange(exits)[:, None] + 0.2 * random.random((exits, queries)), 0, 1)
    precision[:, ::10], right[:, ::10] = np.nan, 0
    return QueryStream(
        "drawn",
        np.arange(queries),
        np.arange(queries) // 4,
        tuple(f"stage {number}" for number in range(1, exits + 1)),
        Outcomes(right, precision),
        {"nearness": sure[0], "margin": sure[1], "label-free margin": sure[2], "agreement": sure[2]},
        "other-cameras",
    )


def drawn_evaluation(people: int = 12, seed: int = 0, cameras_known: bool = True, space: Space = "own") -> Evaluation:
    """Vectors around one point per person, of stages that are less and less noisy; the pictures don't exist."""
    random = np.random.default_rng(seed)
    samples = [
        Sample((Path(f"/nowhere/{split}/{person}_{camera}_{frame}.jpg"),), person, camera)
        for split, frames in (("query", 1), ("gallery", 2))
        for person in range(1, people + 1)
        for camera in (1, 2, 3)
        for frame in range(frames)
    ]
    query = tuple(sample for sample in samples if sample.images[0].parent.name == "query")
    gallery = tuple(sample for sample in samples if sample.images[0].parent.name == "gallery")
    benchmark = Benchmark("drawn", (), query, gallery, Path("/nowhere"), cameras_known)
    centres = random.normal(size=(people + 1, 6))[[sample.person for sample in samples]]
    stages = tuple(
        (centres + noise * random.normal(size=centres.shape)).astype(np.float32) for noise in (1.2, 0.9, 0.6)
    )
    labels = [np.array([getattr(sample, name) for sample in samples]) for name in ("person", "camera")]
    return evaluate(Embeddings(stages, None, benchmark.identify(samples), *labels, space=space), benchmark)
