"""Times and plans keep what was measured, and a file that isn't one says where and what was expected."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from dare.anytime.costs import ExitTimes
from dare.anytime.records import MeasurementError, PlanFile, load_plan, load_times, save_plan, save_times
from dare.shipped.card import PLAN, THRESHOLDS
from dare.shipped.network import shipped_at
from dare.verification.verifier import load_verifier

MODEL = "a" * 64
TIMES = ExitTimes((0.001, 0.002), (0.0015, 0.003), (0.0015, 0.0016), 0.001, "made up")
SHARES, THRESHOLDS_OF_PLAN = (0.25, 0.25, 0.5), (0.1, math.inf)


def test_times_are_read_as_they_were_written(tmp_path: Path) -> None:
    save_times(tmp_path / "t.json", TIMES, MODEL, ("stage 1", "fusion"))
    assert load_times(tmp_path / "t.json", MODEL, 2) == TIMES
    assert json.loads((tmp_path / "t.json").read_text())["exits"] == ["stage 1", "fusion"]
    with pytest.raises(MeasurementError, match="holds times of model aaaaaaaaaaaa, this is model bbbbbbbbbbbb"):
        load_times(tmp_path / "t.json", "b" * 64, 2)
    with pytest.raises(MeasurementError, match="expected times of 3 exits"):
        load_times(tmp_path / "t.json", MODEL, 3)
    with pytest.raises(MeasurementError, match="dare calibrate writes it"):
        load_times(tmp_path / "none.json", MODEL, 2)


def test_a_plan_keeps_a_threshold_that_nobody_reaches_as_null(tmp_path: Path) -> None:
    plan = PlanFile(MODEL, SHARES, THRESHOLDS_OF_PLAN, "margin", "other-cameras", 1, {"data": "made up"})
    save_plan(tmp_path / "p.json", plan)
    assert json.loads((tmp_path / "p.json").read_text())["thresholds"] == [0.1, None]
    assert load_plan(tmp_path / "p.json", 3) == plan
    with pytest.raises(MeasurementError, match="is a plan for 3 exits, the network has 2"):
        load_plan(tmp_path / "p.json", 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"more": 1}, "more is unknown"),
        ({"crops": "1"}, "crops: expected a valid integer, got '1'"),
        ({"crops": True}, "crops: expected a valid integer, got True"),
        ({"shares": [0.5, 0.2, 0.2]}, "add up to 1"),
        ({"shares": [10**400, 0, 0]}, "shares.0"),
        ({"shares": [math.nan, 0, 1]}, "shares.0"),
        ({"shares": [[[0.5]], 0, 1]}, "shares.0"),
        ({"thresholds": [0.1]}, "a threshold for each exit but the last"),
        ({"thresholds": [0.1, math.nan]}, "thresholds.1"),
        ({"confidence": "hope"}, "'margin', 'nearness' or 'agreement'"),
        ({"format": 2}, "format: expected 1, got 2"),
    ],
)
def test_a_damaged_plan_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = tmp_path / "p.json"
    save_plan(file, PlanFile(MODEL, SHARES, THRESHOLDS_OF_PLAN, "margin", "all", 1, {}))
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(MeasurementError) as error:
        load_plan(file, 3)
    assert message in str(error.value)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


def test_a_plan_that_was_changed_is_refused_though_it_could_be_followed(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    save_plan(file, PlanFile(MODEL, SHARES, THRESHOLDS_OF_PLAN, "margin", "all", 1, {}))
    whole = file.read_text()
    file.write_text(whole.replace("0.1", "0.2"))
    with pytest.raises(MeasurementError, match=r"isn't as it was written.*write it again with dare choose-exits"):
        load_plan(file, 3)


def test_what_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(b"\xff{")
    with pytest.raises(MeasurementError, match="isn't JSON"):
        load_plan(tmp_path / "p.json", 3)


def test_files_of_the_shipped_network_are_read() -> None:
    network = shipped_at("lite")
    assert network is not None
    plan = load_plan(network.checked(PLAN), len(network.card.exits))
    assert plan.model == network.card.digest
    assert len(plan.thresholds) == len(plan.shares) - 1
    verifier = load_verifier("lite", network.card.digest)
    assert len(verifier.exits) == len(network.card.exits)
    content = json.loads(network.checked(THRESHOLDS).read_text())
    assert verifier.exits[0].likelihood_ratios.distances.tolist() == content["exits"][0]["calibration"]["distances"]
