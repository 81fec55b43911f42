"""Settings in their places: what a run keeps is read back, whatever it is read onto, and what cannot be is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from dare.training.config import TrainConfig
from dare.training.presets import PRESETS, configure, parse_setting, read_settings, write_settings

OTHERS = {
    "growing": configure(PRESETS["slim"], {"sizes": "64x32:30,128x64:70", "taps": [2, 4], "fusion": False}),
    "weights of a file": replace(PRESETS["slim"], weights='a "file" of\n\u4eba.safetensors', learning_rate=1e-22),
    "a baseline on another's trunk": configure(PRESETS["slim"], {"network": "trinet"}),
    "other pictures": configure(PRESETS["demo"], {"mean": [0.1, 0.2, 0.3], "terms": "space=0.1,identity"}),
}


@pytest.mark.parametrize("onto", ["slim", "svdnet"])
@pytest.mark.parametrize("config", [*PRESETS.values(), *OTHERS.values()], ids=[*PRESETS, *OTHERS])
def test_what_is_kept_is_read_back_onto_any_preset(config: TrainConfig, onto: str, tmp_path: Path) -> None:
    write_settings(tmp_path / "config.toml", config)
    assert read_settings(tmp_path / "config.toml", PRESETS[onto]) == config


def test_a_file_stands_between_the_preset_and_single_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('iterations = 9_000\nlearning_rate = 1\nterms = "triplet=1,space=2"\nerasing = 0.1')
    config = configure(read_settings(file, PRESETS["slim"]), {"erasing": 0.2, "iterations": 3_000})
    assert (config.learning_rate, config.terms) == (1.0, (("triplet", 1.0), ("space", 2.0)))
    assert (config.augmentation.erasing, config.iterations, config.decay_start) == (0.2, 3_000, 1_200)
    assert config.augmentation.jitter == PRESETS["slim"].augmentation.jitter


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("learning_rate", "expected TOML"),
        ("learning_rate = nan", "learning_rate: expected a finite number"),
        ("people = 2.5", "people: expected a valid integer, got 2.5"),
        ('fusion = "no"', "fusion: expected a valid boolean, got 'no'"),
        ("height = 3", "at least 16 pixels"),
        ("rate = 1", "rate is unknown; leave it out, or correct its name"),
        ("[augmentation]\nerasing = 1.0\ncolour = 1", "colour is unknown; leave it out"),
        ("seed = 1979-05-27", "seed: expected a valid integer"),
        ("iterations = 0", "iterations: expected at least 1"),
        ("iterations = 1" + "0" * 400, "iterations: expected at most"),
        ('sizes = "big"', "expected sizes as height x width"),
    ],
)
def test_a_wrong_file_is_refused_by_name_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=rf"wrong\.toml: .*({reason})") as caught:
        read_settings(file, PRESETS["slim"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("erasing=0.3", ("erasing", 0.3)),
        ("ease-in=1", ("ease_in", 1)),
        ("taps=[2, 4]", ("taps", [2, 4])),
        ("fusion=false", ("fusion", False)),
        ("backbone=slim", ("backbone", "slim")),
        ('weights="true"', ("weights", "true")),
        ("terms=triplet=1,teacher=6", ("terms", "triplet=1,teacher=6")),
        ("sizes=128x64:25", ("sizes", "128x64:25")),
        ("weights=a\nb = 2", ("weights", "a\nb = 2")),
        ("weights=1\nb = 2", ("weights", "1\nb = 2")),
    ],
)
def test_a_setting_on_the_command_line_is_read_as_in_the_file(text: str, expected: tuple[str, object]) -> None:
    assert parse_setting(text) == expected
    for wrong in ("erasing", "=3", ""):
        with pytest.raises(ValueError, match=r"expected name=value, such as erasing=0\.3"):
            parse_setting(wrong)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = " + "[" * 100_000, "it is nested too deeply"),
        ("iterations = " + "9" * 10_000, "a number in it has too many digits"),
        ("iterations = 1\niterations = 2", "expected TOML"),
    ],
    ids=["deep", "long", "twice"],
)
def test_a_file_of_settings_that_cannot_be_read_says_why(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ValueError, match=problem) as refused:
        read_settings(tmp_path / "a.toml", PRESETS["demo"])
    assert str(tmp_path / "a.toml") in str(refused.value)
