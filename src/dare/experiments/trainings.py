"""A recipe's trainings: what each run is trained with, and its network in a folder, trained once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dare import missing_extra
from dare.datasets import Benchmark
from dare.datasets.folder import pictures_below
from dare.experiments.recipe import Recipe, RecipeError
from dare.experiments.sections import DataSet, FigureSection, Training
from dare.images.reading import UnreadableImageError
from dare.runners.runner import Runner
from dare.training.monitor import TrainingStoppedError

if TYPE_CHECKING:
    from dare.training.config import TrainConfig


class NotMeasuredError(Exception):
    """Why there is no number; said beside the empty place."""


class BrokenTrainingError(NotMeasuredError):
    """A training that was begun and broke off."""


class StoppedError(Exception):
    """Somebody asked to stop; what was done is kept, and the same call goes on from there."""


def said_once(missing: Sequence[tuple[str, str]]) -> str:
    """Why runs are missing, each name with its reason; a reason that all of them share stands alone."""
    reasons = {reason for _, reason in missing}
    return reasons.pop() if len(reasons) == 1 else "; ".join(f"{name}: {reason}" for name, reason in missing)


@dataclass(frozen=True, slots=True)
class Means:
    """What networks are trained and run with.

    Attributes:
        open: a checkpoint's path -> the network, ready to run.
        device: to train on.
        batch_size, workers: as of `embed`.
        memory_map: as of `train`.
        train: whether to train what has not been; else it stays unmeasured.
        on_progress: called with what is done, how much of it, out of how much, and a remark.
        on_finished: called with what was trained, embedded or drawn just now, and how long it took.
        should_stop: asked now and then; True ends the work with `StoppedError`.
    """

    open: Callable[[Path], Runner]
    device: str = "cpu"
    batch_size: int = 64
    workers: int = 1
    memory_map: bool = False
    train: bool = True
    on_progress: Callable[[str, int, int, str], None] = lambda phase, done, total, remark: None
    on_finished: Callable[[str], None] = lambda text: None
    should_stop: Callable[[], bool] = lambda: False

    def show(self, phase: str, done: int, total: int) -> None:
        """Tell what is done, and raise StoppedError if a stop was asked for."""
        self.on_progress(phase, done, total, "")
        if self.should_stop():
            raise StoppedError(f"stopped at {phase}")


@dataclass(frozen=True, slots=True)
class Run:
    """One of a training's runs on one data set.

    Attributes:
        number: counted from 0.
        recipe: what the whole recipe is in place of; "" for the paper's own.
    """

    training: Training
    data: DataSet
    number: int
    recipe: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.training.name} on {self.data.name}, run {self.number + 1}"

    @property
    def made_by(self) -> str:
        """The preset and the settings that differ from it, or the file that is given instead."""
        for given in (self.training.checkpoints, self.training.embeddings):
            if self.data.name in given:
                return f"given: {given[self.data.name][self.number]}"
        settings = [f"{name}={value}" for name, value in self.training.settings.items()]
        return ", ".join([f"preset {self.training.preset}", *settings])

    @property
    def stands_in(self) -> str:
        """What network and pictures are in place of; "" where both are the paper's."""
        return ", ".join(filter(None, [self.training.stands_in, self.data.stands_in])) or self.recipe


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
            names = (figure.training, *figure.others)
            trained = (figure.data in recipe.trainings[name].trained_on for name in names)
            _check_figure(figure, *(configs[name] if one else None for name, one in zip(names, trained, strict=True)))
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


def _check_figure(figure: FigureSection, first: "TrainConfig | None", *others: "TrainConfig | None") -> None:
    """Refuse networks that a figure cannot be made of; None is one that is not trained here."""
    from dare.models.checkpoints import DARE

    taps = first.architecture.taps if first else None
    one_exit = first and (first.architecture.network != DARE or (taps is not None and len(taps) == 1))
    if one_exit and figure.name in ("figure6", "figure7", "figure8"):
        raise RecipeError(
            f"{figure.name} needs a network with more than one exit, and training {figure.training} has one; "
            "take another training"
        )
    if first and figure.name == "figure7" and not first.architecture.fusion:
        raise RecipeError(f"figure7 shows what the fusion adds, and training {figure.training} has none; take another")
    if figure.name != "figure4":
        return
    (name,), (other,) = figure.others, others
    if name == figure.training:
        raise RecipeError(f"figure4 compares two trainings, and {name} is both; name another one as without")
    if other and other.deep_supervision:
        raise RecipeError(
            f"figure4: training {name} has a loss on every stage; set deep_supervision = false in its settings"
        )
    one, two = (
        config and (config.architecture.network, config.architecture.taps, config.architecture.fusion)
        for config in (first, other)
    )
    if one and two and one != two:
        raise RecipeError(f"figure4: trainings {figure.training} and {name} differ in taps or fusion")


def trained(run: Run, benchmark: Benchmark, folder: Path, means: Means, offline: dict[tuple[str, str], str]) -> Path:
    """The folder of a run's network, which is trained if it has not been.

    Args:
        folder: of all trainings.
        offline: weights that could not be had, and why; they are asked for once.

    Raises:
        NotMeasuredError: it cannot be trained here.
        RecipeError: the folder holds another training.
        StoppedError: stopped on the way.
    """
    try:
        config = config_of(run.training, run.number)
    except ModuleNotFoundError as error:
        if extra := missing_extra(error):
            raise NotMeasuredError(f"training needs {error.name}; {extra}") from error
        raise
    from dare.training.state import STATE_FILE

    place = folder / run.training.name / run.data.name / f"seed-{config.seed}"
    done = _iterations(place, config, benchmark)
    if done < config.iterations:
        if not means.train:
            begun = f"stopped after {done} of {config.iterations} iterations" if done else "not trained"
            raise NotMeasuredError(f"{begun}, and training was not asked for")
        weights = (config.architecture.backbone, str(config.weights))
        if weights in offline:
            raise NotMeasuredError(offline[weights])
        try:
            _train(run, config, benchmark, place, means)
        except ConnectionError as error:
            offline[weights] = str(error)
            raise NotMeasuredError(str(error)) from error
    # A finished training is not resumed, and what it would be resumed from is three times as large as the network.
    for path in (place / STATE_FILE, *place.glob("pictures-*.npy")):
        path.unlink(missing_ok=True)
    return place


def _train(run: Run, config: "TrainConfig", benchmark: Benchmark, folder: Path, means: Means) -> None:
    from dare.models.checkpoints import CheckpointError
    from dare.training.train import train

    nobody = run.training.generated.get(run.data.name)
    if nobody and not nobody.exists():
        raise NotMeasuredError(f"generated pictures are not given: there is no {nobody}")

    def on_progress(now: Any) -> None:
        if now.phase == "pictures":
            means.show(f"{run.name}: pictures", now.done, now.total)
        else:
            means.on_progress(run.name, now.done, now.total, now.remark)

    try:
        checkpoint = train(
            benchmark.train,
            folder,
            config,
            resume=True,
            device=means.device,
            generated=pictures_below(nobody) if nobody else (),
            memory_map=means.memory_map,
            data_name=benchmark.name,
            on_progress=on_progress,
            should_stop=means.should_stop,
        )
    except (TrainingStoppedError, CheckpointError, UnreadableImageError) as error:
        raise BrokenTrainingError(f"the training broke off: {error}") from error
    except ValueError as error:
        raise RecipeError(f"{run.name}: {error}") from error
    if checkpoint.training["iterations"] < config.iterations:
        raise StoppedError(f"{run.name} stopped after {checkpoint.training['iterations']} iterations, saved")
    means.on_finished(f"{run.name}: trained, {checkpoint.training['seconds']:.0f} s in all")


def _iterations(folder: Path, config: "TrainConfig", benchmark: Benchmark) -> int:
    """How far the training in a folder has come; one of other settings or pictures is refused."""
    from dare.models.checkpoints import MODEL_FILE, CheckpointError, load_checkpoint
    from dare.training.state import FREE

    if not (folder / MODEL_FILE).exists():
        return 0
    try:
        found = load_checkpoint(folder).training
    except CheckpointError as error:
        raise NotMeasuredError(str(error)) from error
    read = {"data": found["data"], "pictures": found["pictures"] + found["unreadable"]}
    pictures = sum(len(sample.images) for sample in benchmark.train)
    now = json.loads(json.dumps(asdict(config))) | {"data": benchmark.name, "pictures": pictures}
    before = found["config"] | read
    for name, value in now.items():
        if name not in FREE and before.get(name) != value:
            raise RecipeError(
                f"{folder} holds a training with {name}={before.get(name)}, which is {value} in the recipe; "
                "remove it, or choose another folder for what is made"
            )
    return int(found["iterations"])
