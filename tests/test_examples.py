"""The scripts in examples/ do what their first lines say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dare import Embeddings, embed, evaluate, export, open_benchmark, open_runner

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *words: object, given: str = "") -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *map(str, words)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def vectors(market: Path, model: Path) -> Embeddings:
    benchmark = open_benchmark(market)
    return embed(open_runner(model), [*benchmark.query, *benchmark.gallery], root=benchmark.root)


def test_vectors_from_elsewhere_are_scored(market: Path, vectors: Embeddings, tmp_path: Path) -> None:
    benchmark = open_benchmark(market)
    arrays, first = {}, len(benchmark.query)
    for name, rows in (("query", slice(first)), ("gallery", slice(first, None))):
        arrays[name] = vectors.exits()[-1][rows]
        arrays[f"{name}_people"], arrays[f"{name}_cameras"] = vectors.people[rows], vectors.cameras[rows]
    np.savez(tmp_path / "vectors.npz", **arrays)
    scores = evaluate(vectors, benchmark).exits[-1].scores
    first_line = run("score_your_embeddings", tmp_path / "vectors.npz").splitlines()[0]
    assert first_line.startswith("official")
    assert f"rank-1 {scores.cmc(1):.2%} " in first_line
    assert first_line.endswith(f"mAP {scores.mean_average_precision:.2%}")


@pytest.mark.heavy
def test_a_network_is_trained_on_ones_own_pictures(market: Path, tmp_path: Path) -> None:
    lines = run("train_on_your_pictures", market, tmp_path / "run", 2).splitlines()
    assert [line.split()[0] for line in lines] == ["stage", "stage", "stage", "fusion"]
    assert (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.heavy
def test_every_exit_answers_and_one_is_in_time(market: Path, model: Path, indexed: Path) -> None:
    picture = open_benchmark(market).query[0].images[0]
    *exits, last = run("identify_with_a_deadline", indexed, picture, model, 60).splitlines()
    assert len(exits) == len(open_runner(model).exit_names)
    assert last == f"within 60000 ms: {open_runner(model).exit_names[-1]}"


@pytest.mark.heavy
def test_exported_steps_answer_a_stream_without_torch(market: Path, model: Path, indexed: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "steps")
    pictures = [str(sample.images[0]) for sample in open_benchmark(market).query]
    given = "\n".join([*pictures, str(tmp_path / "missing.jpg")]) + "\n"
    lines = [
        json.loads(line) for line in run("serve_exported_steps", indexed, tmp_path / "steps", given=given).splitlines()
    ]
    assert [line["picture"] for line in lines] == given.split()
    assert all(line["people"] for line in lines[:-1])
    assert "missing.jpg" in lines[-1]["problem"]
