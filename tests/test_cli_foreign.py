"""Networks that others trained, wherever a model stands on the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from foreign import MACS, graph, save, unit, vectors
from test_cli import run

from dare import Embeddings
from dare.images.preparation import prepare
from dare.images.reading import read_resized
from dare.runners.preparations import FAMILIES


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """theirs.onnx, and theirs.xml that others have put a preparation beside."""
    folder = tmp_path_factory.mktemp("networks")
    for name in ("theirs.onnx", "known.xml"):
        save(graph(), folder / name)
    beside = {"colours": "RGB", "white": 255, "mean": [100, 100, 100], "std": [50, 50, 50], "unit_length": True}
    (folder / "known.preparation.json").write_text(json.dumps(beside))
    return folder


def test_vectors_are_those_of_the_graph_for_each_picture(
    capsys: pytest.CaptureFixture[str], market: Path, networks: Path, tmp_path: Path
) -> None:
    words = ["--model", networks / "theirs.onnx", "--preparation", "torchreid"]
    status, out, _ = run(capsys, "embed", market, tmp_path / "a.npz", *words)
    assert (status, "1 exits" in out) == (0, True)
    found = Embeddings.load(tmp_path / "a.npz")
    size = FAMILIES["torchreid"].at(32, 16)
    images = prepare(np.stack([read_resized(market / id, 32, 16) for id in found.ids]), size)
    np.testing.assert_allclose(found.exits()[0], unit(vectors(graph(), images)), rtol=1e-3, atol=1e-5)
    for settings in (["--runner", "openvino"], ["--batch-size", "3"], ["--threads", "2"]):
        assert run(capsys, "embed", market, tmp_path / "b.npz", *words, *settings)[0] == 0
        np.testing.assert_allclose(Embeddings.load(tmp_path / "b.npz").exits()[0], found.exits()[0], atol=1e-4)


def test_every_command_takes_such_a_network(
    capsys: pytest.CaptureFixture[str], market: Path, crowd: Path, networks: Path, tmp_path: Path
) -> None:
    model, gallery = ["--model", networks / "known.xml"], tmp_path / "gallery"
    first, second = sorted((market / "query").iterdir())[:2]
    for words, expected in (
        (["evaluate", market, *model], f"{MACS / 1e6:,.1f} M"),
        (["index", gallery, "--images", market, *model], "11 entries in"),
        (["search", gallery, first], "1."),
        (["search", gallery, first, *model, "--deadline", "10s"], "openvino"),
        (["stream", gallery, "--queries", market, "--mean-macs", "1M", "--policy", "quantile"], "rank-1"),
        (["calibrate", networks / "known.xml", "--gallery", gallery, "--repeats", "2"], "openvino"),
        (["threshold", crowd, *model, "--false-match-rate", "0.2", "--out", tmp_path / "t.json"], "written to"),
        (["compare", first, second, "--thresholds", tmp_path / "t.json", *model], "the same person"),
        (["bench", networks / "known.xml", "--repeats", "2", "--batch", "2"], "bf16"),
        (
            ["bench", networks / "theirs.onnx", "--preparation", "fast-reid", "--repeats", "2", "--batch", "1"],
            "onnxruntime",
        ),
    ):
        status, out, err = run(capsys, *words)
        assert (status, err if status else "") == (0, ""), words
        assert expected in out, words


def test_a_cascade_of_ours_and_theirs_is_evaluated_and_searched(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, networks: Path, tmp_path: Path
) -> None:
    both = ["--model", model, "--model", networks / "known.xml"]
    status, out, _ = run(
        capsys, "evaluate", market, *both, "--json", tmp_path / "a.json", "--report", tmp_path / "a.html"
    )
    assert status == 0
    assert "network 2" in out
    assert "cascade of 2 networks, added up" in out
    alone = run(capsys, "evaluate", market, "--model", networks / "known.xml", "--json", tmp_path / "b.json")[0]
    assert alone == 0
    together, single = (json.loads((tmp_path / name).read_text())["results"] for name in ("a.json", "b.json"))
    assert together[-1]["mAP"] == pytest.approx(single[-1]["mAP"])
    assert run(capsys, "index", tmp_path / "g", "--images", market, *both)[0] == 0
    query = sorted((market / "query").iterdir())[0]
    status, out, _ = run(capsys, "search", tmp_path / "g", query, "--exit", "2")
    assert (status, "network 2" in out) == (0, True)


def test_what_a_user_can_mend_is_one_line(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, networks: Path, tmp_path: Path
) -> None:
    plain = networks / "theirs.onnx"
    moved = Path(shutil.copy(networks / "known.xml", tmp_path / "moved.xml"))
    for words, message in (
        (["--model", plain], "doesn't say how images are prepared for it; put a JSON file beside it"),
        (["--model", plain, "--preparation", "torchvision"], "no preparation torchvision"),
        (["--model", model, "--preparation", "torchreid"], "a preparation is for networks of others"),
        (["--model", plain, "--preparation", "torchreid", "--precision", "bf16"], "runs in fp32 by onnx"),
        (["--model", plain, "--preparation", "torchreid", "--runner", "prepacked"], "is run by onnx or openvino"),
        (["--model", moved], "moved.bin is missing"),
        (["--model", tmp_path / "none.onnx", "--preparation", "torchreid"], "no network at"),
    ):
        status, out, err = run(capsys, "evaluate", market, *words)
        assert (status, out) == (2, ""), words
        assert message in err
        assert err.count("\n") == 1
