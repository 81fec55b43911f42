"""A recipe's trainings as settings of `dare train`: what each run is trained with, and what figures need of that."""

from dataclasses import replace
from typing import TYPE_CHECKING

from dare import missing_extra
from dare.experiments.recipe import Recipe, RecipeError
from dare.experiments.sections import FigureSection, Training

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dare.training.config import TrainConfig


def config_of(training: Training, run: int = 0) -> "TrainConfig":
    """All settings of a run, counted from 0.

    Raises:
        RecipeError: an unknown preset, backbone or setting, or a value that cannot be.
    """
    from dare.models.backbones import BACKBONES
    from dare.training.presets import PRESETS, configure

    where = f"training.{training.name}"
    if training.preset not in PRESETS:
        raise RecipeError(f"{where}: unknown preset {training.preset!r}; choose {', '.join(PRESETS)}")
    try:
        config = configure(PRESETS[training.preset], training.settings)
    except ValueError as error:
        raise RecipeError(f"{where}.{error}") from error
    backbone = config.architecture.backbone
    if backbone not in BACKBONES and not backbone.startswith("timm/"):
        raise RecipeError(f"{where}: unknown backbone {backbone!r}; choose {', '.join(BACKBONES)} or timm/NAME")
    return replace(config, seed=config.seed + run)


def check_settings(recipe: Recipe) -> None:
    """Find out now what a training would refuse later; without torch nothing is trained here.

    Raises:
        RecipeError: settings that cannot be, or a network that a figure cannot be made of.
    """
    try:
        configs = {name: config_of(one) for name, one in recipe.trainings.items() if one.trained_on}
        for name, config in configs.items():
            _check_generated(recipe.trainings[name], config)
        for figure in recipe.figures.values():
            named = {one: configs.get(one) for one in (figure.training, *figure.others)}
            trained = {one for one in named if figure.data in recipe.trainings[one].trained_on}
            _check_figure(figure, {one: config if one in trained else None for one, config in named.items()})
    except ModuleNotFoundError as error:
        if not missing_extra(error):
            raise
    except RecipeError as error:
        raise RecipeError(f"{recipe.source}: {error}") from error


def _check_generated(training: Training, config: "TrainConfig") -> None:
    wanted = {*training.trained_on} if config.generated_images else set()
    if wanted != {*training.generated} & {*training.trained_on} or (training.generated and not wanted):
        raise RecipeError(
            f"training.{training.name} takes {config.generated_images} generated pictures in a batch, and names "
            f"folders of them for {', '.join(training.generated) or 'no data set'}; name one for each data set that it "
            "is trained on, or none"
        )


def _check_figure(figure: FigureSection, configs: "Mapping[str, TrainConfig | None]") -> None:
    """Refuse networks that a figure cannot be made of.

    Args:
        configs: those of its trainings, the first training's first; None for networks that are not trained here.
    """
    first, *others = configs.values()
    if first and figure.name in ("figure6", "figure7", "figure8") and _exits(first) == 1:
        raise RecipeError(
            f"{figure.name} needs a network with more than one exit, and training {figure.training} has one; "
            "take another training"
        )
    if first and figure.name == "figure7" and not first.architecture.fusion:
        raise RecipeError(f"figure7 shows what the fusion adds, and training {figure.training} has none; take another")
    if figure.name != "figure4":
        return
    if not others:
        raise RecipeError(f"figure4 compares two trainings, and {figure.training} is both; name another one as without")
    if others[0] and others[0].deep_supervision:
        raise RecipeError(
            f"figure4: training {figure.others[0]} has a loss on every stage; set deep_supervision = false in its "
            "settings"
        )
    if first and others[0] and _vectors(first) != _vectors(others[0]):
        raise RecipeError(f"figure4: trainings {figure.training} and {figure.others[0]} differ in taps or fusion")


def _exits(config: "TrainConfig") -> int | None:
    """How many exits a network has; None for one behind each stage."""
    from dare.models.checkpoints import DARE

    if config.architecture.network != DARE:
        return 1
    return None if config.architecture.taps is None else len(config.architecture.taps)


def _vectors(config: "TrainConfig") -> tuple[object, ...]:
    return config.architecture.network, config.architecture.taps, config.architecture.fusion
