"""What a recipe's trainings leave behind, each made once: networks, and vectors of what they are tested on."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dare.anytime.costs import ExitCosts
from dare.datasets import SYNTHETIC_RECIPE, Benchmark, Sample, open_benchmark
from dare.evaluation.embedding import embed
from dare.evaluation.evaluate import Evaluation, evaluate
from dare.experiments.recipe import Recipe, RecipeError
from dare.experiments.sections import DataSet, Metric, Training
from dare.experiments.trainings import Means, NotMeasuredError, Run, Trainings
from dare.images.reading import UnreadableImageError
from dare.retrieval.distances import another_model
from dare.retrieval.embeddings import Embeddings, EmbeddingsError
from dare.runners.runner import Runner
from dare.synthetic import draw_benchmark


@dataclass(frozen=True, slots=True)
class Network:
    """What is to be known of a network to compare its vectors.

    Attributes:
        training: how it was trained, as far as it says.
    """

    path: Path
    digest: str
    costs: ExitCosts
    training: Mapping[str, Any]

    @classmethod
    def at(cls, path: Path, open: Callable[[Path], Runner]) -> "Network":
        """A checkpoint's, or that of anything else that can be opened.

        Raises:
            ValueError, OSError: it is damaged, or isn't a network.
        """
        from dare.models.checkpoints import MODEL_FILE, load_checkpoint

        if path.suffix == ".safetensors" or (path / MODEL_FILE).exists():
            checkpoint = load_checkpoint(path)
            return cls(path, checkpoint.digest, checkpoint.costs, checkpoint.training)
        runner = open(path)
        return cls(path, runner.digest, runner.costs, {})


@dataclass(slots=True)
class Workplace:
    """A folder in which a recipe is followed.

    Attributes:
        folder: `data/`, `trainings/` and `embeddings/` below it are made here.
    """

    recipe: Recipe
    folder: Path
    means: Means
    trainings: Trainings = field(init=False)
    _benchmarks: dict[str, Benchmark | NotMeasuredError] = field(default_factory=dict)
    _networks: dict[Path, Network] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trainings = Trainings(self.recipe, self.folder, self.means)

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
            self.means.show(f"drawing {data.name}", done, total)

        start = time.monotonic()
        count = draw_benchmark(folder, data.draw or "tiny", seed=data.seed, knobs=data.drawn, on_progress=on_progress)
        self.means.on_finished(f"{data.name}: drew {count} pictures, {time.monotonic() - start:.0f} s")

    def network(self, run: Run) -> Network:
        """A run's network; it is trained if it has not been.

        Raises:
            NotMeasuredError: there is none and none can be trained here, or it is damaged.
            RecipeError: the folder holds another training.
            StoppedError: stopped on the way.
        """
        path = self.trainings.checkpoint(run, self.benchmark(run.data.name))
        if path not in self._networks:
            try:
                self._networks[path] = Network.at(path, self.means.open)
            except (ValueError, OSError) as error:
                raise NotMeasuredError(str(error)) from error
        return self._networks[path]

    def costs(self, run: Run, crops: int | None = None) -> ExitCosts:
        """Multiply-adds of a run's exits, for as many crops as its vectors are made of; raises as `network` does."""
        return self.network(run).costs.times(crops or run.training.crops)

    def embeddings(self, run: Run, *, crops: int | None = None, with_training: bool = False) -> Embeddings:
        """Vectors of a run's test pictures, made if they have not been.

        Args:
            crops: 1 or 10; by default the training's own.
            with_training: also of the training pictures.

        Raises:
            NotMeasuredError: as in `network`, or what is given is not there.
            StoppedError: stopped on the way.
        """
        crops, benchmark = crops or run.training.crops, self.benchmark(run.data.name)
        if found := self._given(run, crops):
            return found
        samples = [*benchmark.query, *benchmark.gallery, *(benchmark.train if with_training else ())]
        network = self.network(run)
        folder = self.folder / "embeddings" / run.training.name / run.data.name
        file = folder / f"run-{run.number + 1}{'-ten-crops' * (crops == 10)}.npz"
        with contextlib.suppress(EmbeddingsError):  # damaged ones are made anew, as are those of another network
            found = Embeddings.load(file)
            if found.model == network.digest and not found.lacking(benchmark.identify(samples)):
                return found
        try:
            return self._embed(run, network, samples, crops, file)
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
        if networks and found.model != (digest := self.network(run).digest):
            advice = f"give vectors of {networks[run.number]}"
            raise NotMeasuredError(another_model(f"{path} holds vectors", found.model, digest, advice))
        if found.crops == crops:
            return found
        if networks:
            return None
        raise NotMeasuredError(f"{path} holds vectors of {found.crops} crops, not of {crops}")

    def _embed(self, run: Run, network: Network, samples: Sequence[Sample], crops: int, file: Path) -> Embeddings:
        parts = file.with_name(f".{file.name}.parts")
        start = time.monotonic()
        found = embed(
            self.means.open(network.path),
            samples,
            root=self.benchmark(run.data.name).root,
            crops=crops,
            batch_size=self.means.batch_size,
            workers=self.means.workers,
            resume=parts,
            on_progress=lambda done, total: self.means.show(f"{run.name}: embedding", done, total),
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


def last_exit(
    vectors: Embeddings, benchmark: Benchmark, training: Training, metric: Metric | None = None, reranked: bool = False
) -> Evaluation:
    """A network's last exit scored, as a row of table 1 is.

    Raises:
        NotMeasuredError: there is nothing to score, vectors are lacking, or no distance can be learnt from them.
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
    except ValueError as error:
        raise NotMeasuredError(str(error)) from error


def said_once(missing: Sequence[tuple[str, str]]) -> str:
    """Why runs are missing, each name with its reason; a reason that all of them share stands alone."""
    reasons = {reason for _, reason in missing}
    return reasons.pop() if len(reasons) == 1 else "; ".join(f"{name}: {reason}" for name, reason in missing)


def worth_something(evaluation: Evaluation) -> Evaluation:
    if evaluation.nothing_to_score:
        raise NotMeasuredError(evaluation.nothing_to_score)
    return evaluation
