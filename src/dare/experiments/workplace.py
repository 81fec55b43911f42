"""What a recipe's trainings leave behind, each made once: networks, and vectors of what they are tested on."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dare import missing_extra
from dare.anytime.costs import ExitCosts
from dare.datasets import SYNTHETIC_RECIPE, Benchmark, Sample, open_benchmark
from dare.datasets.folder import pictures_below
from dare.evaluation.embedding import embed
from dare.evaluation.evaluate import Evaluation, evaluate
from dare.experiments.recipe import DataSet, Metric, Recipe, RecipeError, Training
from dare.images.reading import UnreadableImageError
from dare.retrieval.distances import another_model
from dare.retrieval.embeddings import Embeddings, EmbeddingsError
from dare.runners.runner import Runner
from dare.synthetic import draw_benchmark
from dare.training.monitor import TrainingStoppedError

if TYPE_CHECKING:
    from dare.models.checkpoints import Checkpoint
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
class Workplace:
    """A folder in which a recipe is followed.

    Attributes:
        folder: `data/`, `trainings/` and `embeddings/` below it are made here.
        broken: what was tried and failed: run -> why.
    """

    recipe: Recipe
    folder: Path
    means: Means
    broken: dict[str, str] = field(default_factory=dict)
    _benchmarks: dict[str, Benchmark | NotMeasuredError] = field(default_factory=dict)
    _lost: dict[str, str] = field(default_factory=dict)
    _without_weights: dict[tuple[str, str], str] = field(default_factory=dict)

    def runs(self, training: str, data: str) -> list[Run]:
        """All of a training's runs on a data set."""
        one, pictures = self.recipe.trainings[training], self.recipe.data[data]
        return [Run(one, pictures, number, self.recipe.stands_in) for number in range(one.count(data))]

    def benchmark(self, name: str) -> Benchmark:
        """A data set's splits; people are drawn if they have not been.

        Raises:
            NotMeasuredError: it is not there.
            RecipeError: people were drawn here by another recipe.
        """
        if name not in self._benchmarks:
            self._benchmarks[name] = self._opened(self.recipe.data[name])
        found = self._benchmarks[name]
        if isinstance(found, NotMeasuredError):
            raise found
        return found

    def _opened(self, data: DataSet) -> Benchmark | NotMeasuredError:
        folder = data.folder or self.folder / "data" / data.name
        if data.draw:
            self._draw(data, folder)
        elif not folder.exists():
            return NotMeasuredError(f"data set {data.name} is not given: there is no {folder}")
        if data.column and (folder / SYNTHETIC_RECIPE).exists() and not (data.stands_in or self.recipe.stands_in):
            raise RecipeError(
                f"{folder} holds drawn people, which would count as {data.column}; "
                f"say in {self.recipe.source}, in [data.{data.name}], what they stand in for (stands_in)"
            )
        return open_benchmark(folder, "synthetic" if data.draw else data.layout)

    def _draw(self, data: DataSet, folder: Path) -> None:
        wanted = {"seed": data.seed, "recipe": asdict(data.drawn)}
        drawn = folder / SYNTHETIC_RECIPE
        if drawn.exists():
            found = json.loads(drawn.read_text(encoding="utf-8"))
            if {name: found.get(name) for name in wanted} != wanted:
                raise RecipeError(
                    f"{folder} was drawn with other knobs than {self.recipe.source} has for {data.name}; "
                    "remove it, or choose another folder for what is made"
                )
            return

        def on_progress(done: int, total: int) -> None:
            self._show(f"drawing {data.name}", done, total)

        start = time.monotonic()
        count = draw_benchmark(folder, data.draw or "tiny", seed=data.seed, knobs=data.drawn, on_progress=on_progress)
        self.means.on_finished(f"{data.name}: drew {count} pictures, {time.monotonic() - start:.0f} s")

    def checkpoint(self, run: Run) -> Path:
        """Where a run's network is; it is trained if it has not been.

        Raises:
            NotMeasuredError: there is none and none can be trained here.
            RecipeError: the folder holds another training.
            StoppedError: stopped on the way.
        """
        given = run.training.checkpoints.get(run.data.name)
        if given:
            if not given[run.number].exists():
                raise NotMeasuredError(f"there is no checkpoint at {given[run.number]}")
            return given[run.number]
        if run.data.name in run.training.embeddings:
            raise NotMeasuredError("only embeddings are given, which do not say what exits cost; name checkpoints too")
        if run.name in self._lost:
            raise NotMeasuredError(self._lost[run.name])
        try:
            return self._trained(run)
        except NotMeasuredError as reason:
            self._lost[run.name] = str(reason)
            raise

    def _trained(self, run: Run) -> Path:
        try:
            config = run.training.config(run.number)
        except ModuleNotFoundError as error:
            if extra := missing_extra(error):
                raise NotMeasuredError(f"training needs {error.name}; {extra}") from error
            raise
        benchmark = self.benchmark(run.data.name)
        folder = self.folder / "trainings" / run.training.name / run.data.name / f"seed-{config.seed}"
        done = _iterations(folder, config, benchmark, self.recipe)
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
                self._show(f"{run.name}: pictures", now.done, now.total)
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

    def network(self, run: Run) -> "Checkpoint":
        """A run's network with all that is known of it; raises as `checkpoint` does."""
        return _load(self.checkpoint(run))

    def costs(self, run: Run, crops: int | None = None) -> ExitCosts:
        """Multiply-adds of a run's exits, for as many crops as its vectors are made of; raises as `checkpoint` does."""
        return self.network(run).costs.times(crops or run.training.crops)

    def embeddings(self, run: Run, *, crops: int | None = None, with_training: bool = False) -> Embeddings:
        """Vectors of a run's test pictures, made if they have not been.

        Args:
            crops: 1 or 10; by default the training's own.
            with_training: also of the training pictures.

        Raises:
            NotMeasuredError: as in `checkpoint`, or what is given is not there.
            StoppedError: stopped on the way.
        """
        crops, benchmark = crops or run.training.crops, self.benchmark(run.data.name)
        if found := self._given(run, crops):
            return found
        samples = [*benchmark.query, *benchmark.gallery, *(benchmark.train if with_training else ())]
        checkpoint = self.checkpoint(run)
        folder = self.folder / "embeddings" / run.training.name / run.data.name
        file = folder / f"run-{run.number + 1}{'-ten-crops' * (crops == 10)}.npz"
        digest = _load(checkpoint).digest
        with contextlib.suppress(EmbeddingsError):  # damaged ones are made anew, as are those of another network
            found = Embeddings.load(file)
            if found.model == digest and not found.lacking(benchmark.identify(samples)):
                return found
        try:
            return self._embed(run, checkpoint, samples, crops, file)
        except UnreadableImageError as error:
            raise NotMeasuredError(str(error)) from error

    def _given(self, run: Run, crops: int) -> Embeddings | None:
        """Finished embeddings that the recipe names; None where there are none, or where others can be made."""
        if run.data.name not in run.training.embeddings:
            return None
        path = run.training.embeddings[run.data.name][run.number]
        try:
            found = Embeddings.load(path)
        except EmbeddingsError as error:
            raise NotMeasuredError(str(error)) from error
        networks = run.training.checkpoints.get(run.data.name)
        if networks and found.model != (digest := _load(self.checkpoint(run)).digest):
            advice = f"give vectors of {networks[run.number]}"
            raise NotMeasuredError(another_model(f"{path} holds vectors", found.model, digest, advice))
        if found.crops == crops:
            return found
        if networks:
            return None
        raise NotMeasuredError(f"{path} holds vectors of {found.crops} crops, not of {crops}")

    def _embed(self, run: Run, checkpoint: Path, samples: Sequence[Sample], crops: int, file: Path) -> Embeddings:
        parts = file.with_name(f".{file.name}.parts")
        start = time.monotonic()
        found = embed(
            self.means.open(checkpoint),
            samples,
            root=self.benchmark(run.data.name).root,
            crops=crops,
            batch_size=self.means.batch_size,
            workers=self.means.workers,
            resume=parts,
            on_progress=lambda done, total: self._show(f"{run.name}: embedding", done, total),
        )
        found.save(file)
        shutil.rmtree(parts, ignore_errors=True)
        self.means.on_finished(f"{run.name}: embedded {len(found)} samples, {time.monotonic() - start:.0f} s")
        return found

    def evaluation(self, run: Run, crops: int | None = None) -> Evaluation:
        """A run scored at every exit; raises as `embeddings` does.

        Where something stands in, the benchmark's name says so, and so does every drawing that has it for a title.
        """
        found = self.embeddings(run, crops=crops)
        benchmark = self.benchmark(run.data.name)
        if run.stands_in:
            benchmark = replace(benchmark, name=f"{benchmark.name}, stand-ins")
        costs = self.costs(run, crops)
        try:
            return worth_something(evaluate(found, benchmark, distance=run.training.distance, costs=costs))
        except EmbeddingsError as error:
            raise NotMeasuredError(str(error)) from error

    def _show(self, phase: str, done: int, total: int) -> None:
        self.means.on_progress(phase, done, total, "")
        if self.means.should_stop():
            raise StoppedError(f"stopped at {phase}")


def last_exit(
    vectors: Embeddings, benchmark: Benchmark, training: Training, metric: Metric | None = None, reranked: bool = False
) -> Evaluation:
    """A network's last exit scored, as a row of table 1 is.

    Raises:
        NotMeasuredError: there is nothing to score, or vectors are lacking.
    """
    only = replace(vectors, stages=(vectors.exits()[-1],), names=("last exit",), fused=None)
    options: dict[str, Any] = {}
    if metric:
        from dare.retrieval.metrics import kissme, xqda

        options["metric"] = {"kissme": kissme, "xqda": xqda}[metric]
    if reranked:
        from dare.retrieval.reranking import ZHONG_2017

        options["rerank"] = ZHONG_2017
    try:
        return worth_something(evaluate(only, benchmark, distance=training.distance, **options))
    except EmbeddingsError as error:
        raise NotMeasuredError(str(error)) from error


def said_once(reasons: Sequence[str]) -> str:
    """Why runs are missing, each reason behind the run's name; one that all of them share stands alone."""
    bare = {reason.partition(": ")[2] for reason in reasons}
    return bare.pop() if len(bare) == 1 else "; ".join(reasons)


def worth_something(evaluation: Evaluation) -> Evaluation:
    if evaluation.nothing_to_score:
        raise NotMeasuredError(evaluation.nothing_to_score)
    return evaluation


def _load(checkpoint: Path) -> "Checkpoint":
    """Raises `NotMeasuredError` if it is damaged, or none at all: others may be whole."""
    from dare.models.checkpoints import CheckpointError, load_checkpoint

    try:
        return load_checkpoint(checkpoint)
    except CheckpointError as error:
        raise NotMeasuredError(str(error)) from error


def _iterations(folder: Path, config: "TrainConfig", benchmark: Benchmark, recipe: Recipe) -> int:
    """How far the training in a folder has come; 0 where there is none.

    Raises:
        RecipeError: it has other settings or pictures.
    """
    from dare.models.checkpoints import MODEL_FILE
    from dare.training.state import FREE

    if not (folder / MODEL_FILE).exists():
        return 0
    found = _load(folder).training
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
