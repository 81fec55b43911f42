"""`dare convert`: what it writes is taken by the other commands, and what it refuses leaves nothing behind."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from released import SHAPES, VECTORS, checkpoint, random_state, save_as_0_2

from dare import Embeddings, cli, load_checkpoint, open_runner

pytestmark = pytest.mark.heavy


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command line."""
    try:
        cli.main([str(word) for word in words])
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("backbone", "arch", "runners"),
    [("resnet50", "dare_R", ["eager", "prepacked"]), ("densenet201", "dare_D", ["eager"])],
)
def test_released_weights_become_a_model_that_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, backbone: str, arch: str, runners: list[str]
) -> None:
    state = random_state(SHAPES[backbone](hidden=64, size=16))
    save_as_0_2(checkpoint(state, arch), tmp_path / "checkpoint.pth.tar")
    words = ["convert", "weights", tmp_path / "checkpoint.pth.tar", tmp_path / "model", "--backbone", backbone]
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert f"{backbone} with heads of 64 units and vectors of 16, in" in out
    patches = torch.randn(1, 3, 8, 4, generator=torch.Generator().manual_seed(1))
    images = torch.nn.functional.interpolate(patches, scale_factor=32.0)
    *stages, fused = VECTORS[backbone](state, images)
    for runner in runners:
        found = open_runner(tmp_path / "model", runner).exits(images.numpy())
        for vectors, theirs in zip(found, [*stages[:3], fused], strict=True):
            assert np.abs(vectors - theirs.numpy()).max() <= 1e-4 * theirs.abs().max().item()
    assert load_checkpoint(tmp_path / "model").training["arch"] == arch
    status, _, err = run(capsys, *words)
    assert (status, "holds a model already; choose another folder" in err) == (2, True)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."])
def test_what_is_no_released_file_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "c").write_bytes(content)
    status, _, err = run(capsys, "convert", "weights", tmp_path / "c", tmp_path / "model", "--backbone", "resnet50")
    assert status == 2
    assert err.count("\n") == 1
    status, _, err = run(capsys, "convert", "weights", tmp_path / "c", tmp_path / "c", "--backbone", "resnet50")
    assert (status, "c is a file; give the name of a new folder" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_embeddings_go_to_matlab_and_back_with_the_same_scores(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    run(capsys, "embed", market, tmp_path / "e.npz", "--model", model)
    status, out, _ = run(capsys, "convert", "to-mat", market, tmp_path / "e.npz", tmp_path / "features")
    assert status == 0
    assert "query_features_fusion.mat, test_features_1.mat" in out
    status, _, err = run(capsys, "convert", "to-mat", market, tmp_path / "e.npz", tmp_path / "e.npz" / "features")
    assert (status, "e.npz: is not a folder" in err) == (2, True)
    status, out, _ = run(capsys, "convert", "from-mat", market, tmp_path / "features", tmp_path / "back.npz")
    assert status == 0
    assert "4 exits" in out
    figures = []
    for name in ("e", "back"):
        run(capsys, "evaluate", market, "--embeddings", tmp_path / f"{name}.npz", "--json", tmp_path / f"{name}.json")
        figures.append(json.loads((tmp_path / f"{name}.json").read_text())["results"])
    assert figures[0] == figures[1]
    before, after = (Embeddings.load(tmp_path / f"{name}.npz") for name in ("e", "back"))
    assert after.ids == before.ids
    (market_without := tmp_path / "fewer").mkdir()
    for split in ("query", "bounding_box_test", "bounding_box_train"):
        (market_without / split).mkdir()
        for picture in sorted((market / split).iterdir())[1:]:
            shutil.copyfile(picture, market_without / split / picture.name)
    status, _, err = run(capsys, "convert", "from-mat", market_without, tmp_path / "features", tmp_path / "n.npz")
    assert status == 2
    assert "expected 9 columns of feature_query_new, one per query picture of the data set, got shape" in err
    assert not (tmp_path / "n.npz").exists()
