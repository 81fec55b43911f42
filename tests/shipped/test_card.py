"""The card of a shipped network: read as written, and whole or refused."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dare.shipped.card import CARD, Accuracy, Card, Engine, ShippedError, read_card, write_card

SURE = ((0.5, 0.4, 0.6), (0.7, 0.6, 0.8))
CARD_OF_TWO = Card(
    "two",
    "0" * 63 + "1",
    "drawn people; free",
    {"data": "Drawn – by a program.", "limits": "None is known."},
    ("stage 1", "fusion"),
    (1000, 2000),
    (Accuracy("drawn", SURE, SURE),),
    (
        Engine("openvino", "bf16", "openvino", (1.0, 2.0), (0.0, 0.001)),
        Engine("openvino", "fp32", "openvino", (1.0, 3.0), (0.0, 0.0)),
    ),
    "a machine",
    {"model.safetensors": "a" * 64, "openvino/manifest.json": "b" * 64, "openvino-more": "c" * 64},
)


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_card(tmp_path, CARD_OF_TWO)
    assert read_card(tmp_path) == CARD_OF_TWO
    assert list(read_card(tmp_path).words) == ["data", "limits"]


def test_files_of_a_place_are_those_at_it_and_below() -> None:
    assert list(CARD_OF_TWO.files_of("openvino")) == ["openvino/manifest.json"]
    assert list(CARD_OF_TWO.files_of("model.safetensors")) == ["model.safetensors"]
    assert not CARD_OF_TWO.files_of("onnx")


def test_any_changed_byte_is_noticed(tmp_path: Path) -> None:
    write_card(tmp_path, CARD_OF_TWO)
    content = (tmp_path / CARD).read_bytes()
    random = np.random.default_rng(0)
    for place in [*random.integers(len(content), size=200).tolist(), 0, len(content) - 2]:
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(7))
        (tmp_path / CARD).write_bytes(changed)
        with pytest.raises(ShippedError, match=r"shipped.json is damaged.*install dare-reid again"):
            read_card(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"format": 1, "sha256": 7}', b"[" * 10**5])
def test_what_is_no_card_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / CARD).write_bytes(content)
    with pytest.raises(ShippedError, match="is damaged"):
        read_card(tmp_path)


def test_a_missing_card_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(ShippedError, match="is missing"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format", 2, "format: expected 1, got 2"),
        ("macs", (1000,), "expected figures of 2 exits"),
        ("macs", (1000, 2000.5), r"macs\.1: expected a valid integer, got 2000.5"),
        ("measured_on", None, "measured_on: expected a valid string, got None"),
    ],
)
def test_a_whole_card_that_says_something_else_is_refused(
    name: str, value: object, message: str, tmp_path: Path
) -> None:
    object.__setattr__(other := replace(CARD_OF_TWO), name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, of values that don't fit the model
        write_card(tmp_path, other)
    with pytest.raises(ShippedError, match=rf"shipped\.json: {message}.*install dare-reid again"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"macs": (1000,)}, "figures of 2 exits"),
        ({"accuracy": ()}, "at least 1 item"),
        ({"engines": ()}, "at least 1 item"),
        ({"engines": CARD_OF_TWO.engines[::-1]}, "the fastest engine first"),
        ({"engines": CARD_OF_TWO.engines[:1]}, "fp32 for every runner, openvino lacks it"),
        ({"files": {**CARD_OF_TWO.files, "../model": "a" * 64}}, "files below the folder"),
        ({"files": {"model.safetensors": "a" * 64}}, "openvino is not among its files"),
        ({"accuracy": (Accuracy("drawn", SURE[:1], SURE),)}, "figures of 2 exits"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CARD_OF_TWO, **changes)


def test_accuracies_lie_between_0_and_1() -> None:
    with pytest.raises(ValueError, match="less than or equal to 1"):
        Accuracy("drawn", ((50.0, 40.0, 60.0),), SURE)
