"""The baselines on the command line: every preset trains, and what comes out is evaluated and timed as any network."""

import json
from pathlib import Path

import pytest
from conftest import save_picture
from test_cli import run

from dare.training.presets import PRESETS

pytestmark = pytest.mark.heavy

SMALL = ["--backbone=tiny", "--weights=none", "--height=64", "--width=32", "--set=people=6"]
SMALL += ["--set=images=2", "--iterations=20", "--threads=1"]

OWN = {
    "svdnet": ["--set=embedding_dim=16"],
    "lite": ["--set=terms=triplet=1,identity=1", "--set=space=own", "--set=taps=[1]", "--set=fusion=false"],
}
"""What a preset needs besides."""


@pytest.mark.parametrize("preset", sorted(PRESETS.keys() - {"paper", "slim", "demo"}))
def test_a_baseline_is_trained_and_evaluated(
    preset: str, capsys: pytest.CaptureFixture[str], crowd: Path, tmp_path: Path
) -> None:
    words = ["train", crowd, tmp_path / "run", f"--preset={preset}", *SMALL, *OWN.get(preset, [])]
    if preset == "lsro":
        status, _, err = run(capsys, *words)
        assert status == 2
        assert "got 0 unlabelled pictures, and generated_images=42 in a batch" in err
        save_picture(tmp_path / "generated" / "below" / "one.jpg")
        words += ["--unlabelled", tmp_path / "generated"]
    status, out, err = run(capsys, *words)
    assert (status, out) == (0, f"trained for 20 iterations; the model is in {tmp_path / 'run'}\n"), err
    figures = tmp_path / "figures.json"
    assert run(capsys, "evaluate", crowd, "--model", tmp_path / "run", "--json", figures)[0] == 0
    (result,) = json.loads(figures.read_text())["results"]
    assert result["macs"] > 0


def test_generated_pictures_must_be_there(capsys: pytest.CaptureFixture[str], crowd: Path, tmp_path: Path) -> None:
    words = ["train", crowd, tmp_path / "run", "--preset=lsro", *SMALL, "--unlabelled", tmp_path / "none"]
    status, _, err = run(capsys, *words)
    assert status == 2
    assert "expected a folder of pictures, found none below" in err
