"""`bench/ship.py` makes a folder that commands take."""

import runpy
import sys
from pathlib import Path

import pytest

from dare import load_checkpoint, load_verifier, open_runner
from dare.anytime.records import load_plan
from dare.shipped.card import MODEL, PLAN, THRESHOLDS
from dare.shipped.network import ShippedNetwork

SHIP = Path(__file__).parents[1] / "bench" / "ship.py"

WORDS = """summary = "drawn blocks; free"
[words]
data = "Twelve people who are blocks."
"""


@pytest.mark.heavy
def test_a_training_becomes_a_folder_with_a_card(
    model: Path, crowd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words.toml").write_text(WORDS)
    data = [word for option in ("--benchmark", "--held-out", "--calibrate") for word in (option, str(crowd))]
    limits = ["--mean-macs", "1G", "--false-match-rate", "0.1", "--int8", "--machine", "some machine"]
    out = tmp_path / "blocks"
    words = [str(SHIP), str(model), str(out), "--words", str(tmp_path / "words.toml"), *data, *limits]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(SHIP), run_name="__main__")

    network = ShippedNetwork.at(out)
    card = network.card
    assert (card.name, card.summary, card.measured_on) == ("blocks", "drawn blocks; free", "some machine")
    assert [*card.files] == sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*.*") if path.name != "shipped.json"
    )
    for place in card.files:
        network.checked(place)
    assert card.digest == load_checkpoint(out / MODEL).digest == open_runner(out / "onnx").digest
    assert {(engine.runner, engine.precision) for engine in card.engines} >= {("onnx", "fp32"), ("openvino", "bf16")}
    fp32 = [engine for engine in card.engines if engine.precision == "fp32"]
    assert all(abs(loss) < 0.05 for engine in fp32 for loss in engine.losses)
    scores = card.accuracy[0]
    assert scores.benchmark == "market1501 (24 queries, 24 gallery entries)"
    assert all(low <= value <= high for value, low, high in scores.rank1)
    assert load_verifier(out / THRESHOLDS, card.digest).false_match_rate == 0.1
    assert len(load_plan(out / PLAN, 4).shares) == 4
