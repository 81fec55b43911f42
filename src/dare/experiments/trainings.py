"""A recipe's trainings in a folder: each run's network, trained once, or given."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dare import missing_extra
from dare.datasets import Benchmark
from dare.datasets.folder import pictures_below
from dare.experiments.recipe import Recipe, RecipeError
from dare.experiments.sections import DataSet, Training
from dare.experiments.settings import config_of
from dare.images.reading import UnreadableImageError
from dare.runners.runner import Runner
from dare.training.monitor import TrainingStoppedError

if TYPE_CHECKING:
    from dare.training.config import TrainConfig


class NotMeasuredError(Exception):
    """Why there is no number; said beside the empty place."""


class StoppedError(Exception):
    """Somebody asked to stop; what was done is kept, and the same call goes on from there."""


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
        """Tell what is done, and stop if that was asked for.

        Raises:
            StoppedError: it was.
        """
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


@dataclass(slots=True)
class Trainings:
    """What has been trained below a folder, in `trainings/`, and what is trained there when it is asked for.

    Attributes:
        broken: what was tried and failed: run -> why.
    """

    recipe: Recipe
    folder: Path
    means: Means
    broken: dict[str, str] = field(default_factory=dict)
    _lost: dict[str, str] = field(default_factory=dict)
    _without_weights: dict[tuple[str, str], str] = field(default_factory=dict)

    def checkpoint(self, run: Run, benchmark: Benchmark) -> Path:
        """Where a run's network is; it is trained if it has not been.

        Raises:
            NotMeasuredError: there is none and none can be trained here.
            RecipeError: the folder holds another training.
            StoppedError: stopped on the way.
        """
        given = run.training.checkpoints.get(run.data.name)
        if given:
            if not given[run.number].exists():
                raise NotMeasuredError(f"there is no network at {given[run.number]}")
            return given[run.number]
        if run.data.name in run.training.embeddings:
            raise NotMeasuredError("only embeddings are given, which do not say what exits cost; name checkpoints too")
        if run.name in self._lost:
            raise NotMeasuredError(self._lost[run.name])
        try:
            return self._trained(run, benchmark)
        except NotMeasuredError as reason:
            self._lost[run.name] = str(reason)
            raise

    def _trained(self, run: Run, benchmark: Benchmark) -> Path:
        from dare.models.checkpoints import CheckpointError

        try:
            config = config_of(run.training, run.number)
        except ModuleNotFoundError as error:
            if extra := missing_extra(error):
                raise NotMeasuredError(f"training needs {error.name}; {extra}") from error
            raise
        folder = self.folder / "trainings" / run.training.name / run.data.name / f"seed-{config.seed}"
        try:
            done = _iterations(folder, config, benchmark, self.recipe)
        except CheckpointError as error:
            raise NotMeasuredError(str(error)) from error
        if done < config.iterations:
            if not self.means.train:
                begun = f"stopped after {done} of {config.iterations} iterations" if done else "not trained"
                raise NotMeasuredError(f"{begun}, and training was not asked for")
            self._train(run, config, benchmark, folder)
        _tidy(folder)
        return folder

    def _train(self, run: Run, config: "TrainConfig", benchmark: Benchmark, folder: Path) -> None:
        from dare.models.checkpoints import CheckpointError
        from dare.training.train import train

        weights = (config.architecture.backbone, str(config.weights))
        if weights in self._without_weights:
            raise NotMeasuredError(self._without_weights[weights])
        nobody = run.training.generated.get(run.data.name)
        if nobody and not nobody.exists():
            raise NotMeasuredError(f"generated pictures are not given: there is no {nobody}")

        def on_progress(now: Any) -> None:
            if now.phase == "pictures":
                self.means.show(f"{run.name}: pictures", now.done, now.total)
            else:
                self.means.on_progress(run.name, now.done, now.total, now.remark)

        try:
            checkpoint = train(
                benchmark.train,
                folder,
                config,
                resume=True,
                device=self.means.device,
                generated=pictures_below(nobody) if nobody else (),
                memory_map=self.means.memory_map,
                data_name=benchmark.name,
                on_progress=on_progress,
                should_stop=self.means.should_stop,
            )
        except ConnectionError as error:
            self._without_weights[weights] = str(error)
            raise NotMeasuredError(str(error)) from error
        except (TrainingStoppedError, CheckpointError, UnreadableImageError) as error:
            self.broken[run.name] = str(error)
            raise NotMeasuredError(f"the training broke off: {error}") from error
        except ValueError as error:
            raise RecipeError(f"{run.name}: {error}") from error
        if checkpoint.training["iterations"] < config.iterations:
            raise StoppedError(f"{run.name} stopped after {checkpoint.training['iterations']} iterations, saved")
        self.means.on_finished(f"{run.name}: trained, {checkpoint.training['seconds']:.0f} s in all")


def _iterations(folder: Path, config: "TrainConfig", benchmark: Benchmark, recipe: Recipe) -> int:
    """How far the training in a folder has come; 0 where there is none.

    Raises:
        RecipeError: it has other settings or pictures.
    """
    from dare.models.checkpoints import MODEL_FILE, load_checkpoint
    from dare.training.state import FREE

    if not (folder / MODEL_FILE).exists():
        return 0
    found = load_checkpoint(folder).training
    now = json.loads(json.dumps(asdict(config)))
    pictures = sum(len(sample.images) for sample in benchmark.train)
    differences = [
        *_changed(found["config"], now, FREE),
        *_changed(
            {"data": found["data"], "pictures": found["pictures"] + found["unreadable"]},
            {"data": benchmark.name, "pictures": pictures},
        ),
    ]
    if differences:
        raise RecipeError(
            f"{folder} holds a training with {differences[0]} in {recipe.source}; "
            "remove it, or choose another folder for what is made"
        )
    return int(found["iterations"])


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], free: Sequence[str] = ()) -> Iterator[str]:
    for name, value in now.items():
        if name not in free and before.get(name) != value:
            yield f"{name}={before.get(name)}, which is {value}"


def _tidy(folder: Path) -> None:
    """A finished training is not resumed, and what it would be resumed from is three times as large as the network."""
    from dare.training.state import STATE_FILE

    for path in (folder / STATE_FILE, *folder.glob("pictures-*.npy")):
        path.unlink(missing_ok=True)
