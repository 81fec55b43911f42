"""Named sets of settings, and how single settings are changed, read and kept."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from dare.files import parse_toml, replacing, said
from dare.images.preparation import Preparation
from dare.models.backbones import normalisation
from dare.models.baselines import HEADED
from dare.models.checkpoints import DARE, Architecture, load_checkpoint
from dare.training.config import MOST, TrainConfig, parse_sizes, parse_terms, rescaled
from dare.training.pictures import Augmentation

CONFIG_FILE = "config.toml"
PARTS = ("architecture", "preparation", "augmentation")

PARSERS: dict[str, Callable[[str], Any]] = {
    "terms": parse_terms,
    "sizes": parse_sizes,
    **dict.fromkeys(("weights", "taps"), lambda text: None if text == "none" else text),
}
"""Setting -> what its text stands for."""

_IDE = TrainConfig(
    architecture=Architecture(network="ide", embedding_dim=0),
    preparation=Preparation(height=224, width=224),
    augmentation=Augmentation(erasing=0.0),
    people=64,
    images=1,
    iterations=10_000,
    decay_start=8_000,
    final_rate=0.1,
    beta1_late=0.9,
    weight_decay=5e-4,
    dropout=0.5,
)

_TRINET = TrainConfig(
    architecture=Architecture(network="trinet"),
    augmentation=Augmentation(erasing=0.0),
    iterations=25_000,
    decay_start=15_000,
    weight_decay=0.0,
)

PRESETS = {
    "paper": TrainConfig(),
    "slim": TrainConfig(
        architecture=Architecture("slim", hidden_dim=256),
        weights=None,
        preparation=Preparation(height=128, width=64),
        augmentation=Augmentation(enlarge=False, erasing=0.3, jitter=0.15),
        iterations=18_000,
        decay_start=7_200,
        final_rate=0.02,
        learning_rate=1e-3,
        warm_up=100,
        beta1_late=0.9,
        weight_decay=0.0,
        fusion_rate=0.1,
        ease_in=0.15,
        average=0.997,
    ),
    "lite": TrainConfig(
        architecture=Architecture("omni", hidden_dim=256, taps=(1, 3, 4), unit=True),
        weights="teacher",
        preparation=Preparation(height=128, width=64),
        augmentation=Augmentation(enlarge=False, erasing=0.3, jitter=0.15),
        people=16,
        iterations=4_400,
        decay_start=1_100,
        final_rate=0.01,
        learning_rate=1e-3,
        warm_up=50,
        beta1_late=0.9,
        weight_decay=0.0,
        trunk_rate=0.3,
        terms=(("triplet", 1.0), ("identity", 1.0), ("teacher", 6.0)),
        space="shared",
        average=0.998,
    ),
    "demo": TrainConfig(
        architecture=Architecture("tiny", hidden_dim=128, embedding_dim=64),
        weights=None,
        preparation=Preparation(height=64, width=32),
        augmentation=Augmentation(erasing=0.0),
        people=12,
        iterations=800,
        decay_start=480,
        final_rate=0.02,
        learning_rate=3e-3,
        warm_up=30,
        beta1_late=0.9,
        beta2=0.99,
        weight_decay=0.0,
        ease_in=0.3,
    ),
    "trinet": _TRINET,
    "ide": _IDE,
    "lsro": replace(
        _IDE,
        people=22,
        generated_images=42,
        iterations=28_000,
        decay_start=22_400,
        weight_decay=1e-4,
        dropout=0.75,
    ),
    "svdnet": replace(
        _IDE,
        architecture=Architecture(network="svdnet", embedding_dim=1024),
        iterations=137_000,
        decay_start=25_000,
        final_rate=0.01,
        dropout=0.0,
        rounds=7,
    ),
    "pan": replace(
        _IDE,
        architecture=Architecture(network="pan", embedding_dim=0),
        people=32,
        iterations=16_000,
        decay_start=12_000,
        dropout=0.75,
    ),
    "mscan": replace(
        _IDE,
        architecture=Architecture("mscan", network="mscan"),
        weights=None,
        preparation=Preparation(height=160, width=64),
        iterations=40_000,
        decay_start=20_000,
        final_rate=0.01,
    ),
    "st-rnn": replace(
        _TRINET,
        architecture=Architecture(network="st-rnn"),
        preparation=Preparation(height=224, width=224, frames=8),
        people=8,
        images=2,
    ),
}
"""Name -> settings. `paper`: DaRe(R) with random erasing from ImageNet weights. `slim`: our trunk for CPUs,
from random weights, for Market-1501. `demo`: a tiny trunk at 64x32 for the tiny synthetic benchmark. The others are
what the paper compares with, as far as the papers' settings fit this loop."""


def configure(preset: TrainConfig, settings: Mapping[str, Any], init: str | Path | None = None) -> TrainConfig:
    """A preset with single settings replaced, by their own names wherever they stand in a `TrainConfig`.

    Args:
        settings: such as `{"backbone": "resnet18", "height": 128, "erasing": 0.0, "iterations": 3000}`; "none" means
            random weights, and all stages in taps. Changed iterations stretch or shrink the schedule unless
            `decay_start` is given. With another backbone pictures are normalised as for its published weights, unless
            `mean` and `std` are given.
        init: a checkpoint whose network and input are taken over.

    Raises:
        ValueError: an unknown setting, a wrong value, a setting that the network doesn't use, or svdnet without
            `rounds` on another network's preset.
    """
    own_network = preset.architecture.network
    if init is not None:
        if "weights" in settings:
            raise ValueError("weights and init both say what to start from; give one of them")
        start = load_checkpoint(init)
        for name in ("backbone", "network"):
            if settings.get(name, own := getattr(start.architecture, name)) != own:
                raise ValueError(
                    f"init takes the network over from {init}, whose {name} is {own}, got {name} {settings[name]}; "
                    f"leave {name} out, or start without init"
                )
        preset = replace(preset, architecture=start.architecture, preparation=start.preparation, weights=None)
    network = settings.get("network", preset.architecture.network)
    if unused := [name for name in _unused(network) if name in settings]:
        raise ValueError(f"{network} has no use for {', '.join(unused)}; leave that out")
    if network == "svdnet" != own_network and "rounds" not in settings:
        raise ValueError(
            "svdnet needs rounds of restraint and relaxation, and this preset has none; set rounds (preset svdnet has "
            f"{PRESETS['svdnet'].rounds}) and set average to 0, or set rounds to 0 for its plain layer"
        )
    return _replaced(preset, settings, "settings", normalised=init is None)


def read_settings(file: Path, preset: TrainConfig) -> TrainConfig:
    """A preset with the settings of a TOML file in their places, as `write_settings` writes them; any may be left out.

    Raises:
        ValueError: names the file and what is wrong in it.
    """
    try:
        settings = parse_toml(file.read_text(encoding="utf-8"))
    except ValueError as error:  # not TOML, or not UTF-8
        raise ValueError(f"{file}: expected TOML with lines such as learning_rate = 0.001; {error}") from error
    return _replaced(preset, settings, file)


def write_settings(file: Path, config: TrainConfig) -> None:
    """Every setting, one a line, for `read_settings`."""
    with replacing(file) as target:
        target.write(tomli_w.dumps(flat(config)).encode())


def flat(config: TrainConfig) -> dict[str, Any]:
    """Setting -> value, wherever it stands in a configuration, in the form in which users write it."""
    found: dict[str, Any] = {}
    for name, value in asdict(config).items():
        found |= value if name in PARTS else {name: value}
    found["sizes"] = ",".join(f"{height}x{width}:{count}" for height, width, count in config.sizes)
    found["terms"] = ",".join(f"{name}={weight!r}" for name, weight in config.terms)
    return {name: "none" if value in (None, "") else value for name, value in found.items()}


def parse_setting(text: str) -> tuple[str, Any]:
    """`name=value` as on the command line: a value as in TOML, or a text without quotes.

    Raises:
        ValueError: there is no name or no value.
    """
    name, sign, value = text.partition("=")
    if not (name.strip() and sign):
        raise ValueError(f"expected name=value, such as erasing=0.3, got {text!r}")
    try:
        read = parse_toml(f"value = {value}")
    except ValueError:
        read = {}
    return name.strip().replace("-", "_"), read["value"] if read.keys() == {"value"} else value


def _replaced(
    preset: TrainConfig, settings: Mapping[str, Any], source: str | Path, *, normalised: bool = True
) -> TrainConfig:
    """The settings in their places, and what follows from them for others.

    Args:
        source: where the settings are from, for errors.
        normalised: pictures as for a given backbone's weights.
    """
    try:
        given = {
            name: PARSERS[name](value) if name in PARSERS and isinstance(value, str) else value
            for name, value in settings.items()
        }
        if normalised and isinstance(backbone := given.get("backbone"), str):
            mean, std = normalisation(backbone)
            given = {"mean": mean, "std": std, **given}
        given = _scheduled(preset, given) | given
        whole = asdict(preset)
        for part in PARTS:
            whole[part] |= {name: given.pop(name) for name in list(given) if name in whole[part]}
        # JSON, because there pydantic's strict mode takes lists for tuples and objects for dataclasses.
        return TypeAdapter(TrainConfig).validate_json(json.dumps(whole | given, default=str))
    except ValidationError as error:
        problem = said(error, source)
        for part in PARTS:  # users name settings without the part that they belong to
            problem = problem.replace(f": {part}.", ": ", 1)
        raise ValueError(problem) from error
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _scheduled(preset: TrainConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from given sizes for the network's and the iterations, and from those for a preset's schedule."""
    follows: dict[str, Any] = {}
    if isinstance(sizes := given.get("sizes"), tuple) and sizes:
        height, width, _ = sizes[-1]
        follows = {"iterations": sum(count for *_, count in sizes), "height": height, "width": width}
    iterations = given.get("iterations", follows.get("iterations"))
    if type(iterations) is int and 1 <= iterations <= MOST:
        follows["decay_start"] = round(preset.decay_start * iterations / preset.iterations)
        if preset.sizes:
            follows["sizes"] = rescaled(preset.sizes, iterations)
    return follows


def _unused(network: str) -> tuple[str, ...]:
    """Settings that change nothing in a network: a preset may have them for others, but giving them would mislead."""
    if network == DARE:
        return ()
    one_exit = ("fusion", "fusion_rate", "deep_supervision")
    return one_exit if network in HEADED else (*one_exit, "hidden_dim", "margin", "ease_in")
