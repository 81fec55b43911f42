"""A folder in which a recipe is followed: data sets, networks, vectors and scores, each made once."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dare.anytime.costs import ExitCosts
from dare.datasets import SYNTHETIC_RECIPE, Benchmark, open_benchmark
from dare.evaluation.embedding import embed
from dare.evaluation.evaluate import Evaluation, evaluate
from dare.experiments.query_stream import QueryStream, query_stream
from dare.experiments.recipe import Recipe, RecipeError
from dare.experiments.sections import DataSet, FigureSection
from dare.experiments.trainings import BrokenTrainingError, Means, NotMeasuredError, Run, said_once, trained
from dare.images.reading import UnreadableImageError
from dare.retrieval.distances import another_model
from dare.retrieval.embeddings import Embeddings, EmbeddingsError
from dare.synthetic import draw_benchmark


@dataclass(frozen=True, slots=True)
class Network:
    """What is to be known of a network to compare its vectors, and of its training as far as it says."""

    path: Path
    digest: str
    costs: ExitCosts
    training: Mapping[str, Any]


@dataclass(frozen=True)
class Scored:
    """All runs of a training on a figure's pictures that could be scored, and why there are not more."""

    runs: list[Run] = field(default_factory=list)
    named: dict[str, Evaluation] = field(default_factory=dict)
    missing: list[tuple[str, str]] = field(default_factory=list)

    @property
    def each(self) -> list[Evaluation]:
        """One for each run."""
        return list(self.named.values())

    @cached_property
    def streams(self) -> list[QueryStream]:
        """One for each run, its queries in the order of the benchmark's list."""
        return [query_stream(one) for one in self.each]

    @property
    def costs(self) -> ExitCosts:
        """Of each run's exits; runs that cannot be compared are refused with a ValueError."""
        check_comparable(self.named)
        costs = [evaluation.costs for evaluation in self.each if evaluation.costs]
        if any(one.macs != costs[0].macs for one in costs):
            raise ValueError("its runs are networks of different costs; compare runs of one network")
        return costs[0]

    @property
    def like_the_papers(self) -> bool:
        """Whether the authors' own points may stand beside it; all of them are of Market-1501."""
        return not self.runs[0].stands_in and self.runs[0].data.column == "Market"


@dataclass(slots=True)
class Workplace:
    """A folder in which a recipe is followed, with `data/`, `trainings/` and `embeddings/`."""

    recipe: Recipe
    folder: Path
    means: Means
    _found: dict[object, Any] = field(default_factory=dict)
    _offline: dict[tuple[str, str], str] = field(default_factory=dict)

    def _once(self, what: object, make: Callable[[], Any]) -> Any:
        """What was made before, or the reason why it could not be; made now if nobody has asked yet."""
        if what not in self._found:
            try:
                self._found[what] = make()
            except NotMeasuredError as reason:
                self._found[what] = reason
        if isinstance(found := self._found[what], NotMeasuredError):
            raise found
        return found

    @property
    def broken(self) -> int:
        """How many trainings broke off."""
        return sum(isinstance(found, BrokenTrainingError) for found in self._found.values())

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
        found: Benchmark = self._once(("data", name), lambda: self._opened(self.recipe.data[name]))
        return found

    def _opened(self, data: DataSet) -> Benchmark:
        folder = data.folder or self.folder / "data" / data.name
        if data.draw:
            self._draw(data, folder)
        elif not folder.exists():
            raise NotMeasuredError(f"data set {data.name} is not given: there is no {folder}")
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

        start = time.monotonic()
        count = draw_benchmark(
            folder,
            data.draw or "tiny",
            seed=data.seed,
            knobs=data.drawn,
            on_progress=lambda done, total: self.means.show(f"drawing {data.name}", done, total),
        )
        self.means.on_finished(f"{data.name}: drew {count} pictures, {time.monotonic() - start:.0f} s")

    def network(self, run: Run) -> Network:
        """A run's network; it is trained if it has not been.

        Raises:
            NotMeasuredError: there is none and none can be trained here, or it is damaged.
            RecipeError: the folder holds another training.
            StoppedError: stopped on the way.
        """
        found: Network = self._once(("network", run.name), lambda: self._network(run))
        return found

    def _network(self, run: Run) -> Network:
        from dare.models.checkpoints import MODEL_FILE, load_checkpoint

        if given := run.training.checkpoints.get(run.data.name):
            path = given[run.number]
            if not path.exists():
                raise NotMeasuredError(f"there is no network at {path}")
        elif run.data.name in run.training.embeddings:
            raise NotMeasuredError("only embeddings are given, which do not say what exits cost; name checkpoints too")
        else:
            benchmark, folder = self.benchmark(run.data.name), self.folder / "trainings"
            path = trained(run, benchmark, folder, self.means, self._offline)
        try:
            if path.suffix == ".safetensors" or (path / MODEL_FILE).exists():
                checkpoint = load_checkpoint(path)
                return Network(path, checkpoint.digest, checkpoint.costs, checkpoint.training)
            runner = self.means.open(path)
        except (ValueError, OSError) as error:
            raise NotMeasuredError(str(error)) from error
        return Network(path, runner.digest, runner.costs, {})

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
        parts, start = file.with_name(f".{file.name}.parts"), time.monotonic()
        try:
            found = embed(
                self.means.open(network.path),
                samples,
                root=benchmark.root,
                crops=crops,
                batch_size=self.means.batch_size,
                workers=self.means.workers,
                resume=parts,
                on_progress=lambda done, total: self.means.show(f"{run.name}: embedding", done, total),
            )
        except UnreadableImageError as error:
            raise NotMeasuredError(str(error)) from error
        found.save(file)
        shutil.rmtree(parts, ignore_errors=True)
        self.means.on_finished(f"{run.name}: embedded {len(found)} samples, {time.monotonic() - start:.0f} s")
        return found

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

    def evaluation(self, run: Run, crops: int | None = None) -> Evaluation:
        """A run scored at every exit; raises as `embeddings` does.

        Where something stands in, the benchmark's name says so, and so does every drawing that has it for a title.
        """
        found = self.embeddings(run, crops=crops)
        benchmark = self.benchmark(run.data.name)
        if run.stands_in:
            benchmark = replace(benchmark, name=f"{benchmark.name}, stand-ins")
        costs = self.network(run).costs.times(found.crops)
        try:
            return worth_something(evaluate(found, benchmark, distance=run.training.distance, costs=costs))
        except EmbeddingsError as error:
            raise NotMeasuredError(str(error)) from error

    def scored(self, training: str, figure: FigureSection) -> Scored:
        """All of a training's runs for a figure, each scored once; it trains and embeds what that takes.

        Raises:
            NotMeasuredError: none could be scored.
            RecipeError, StoppedError: as in `network`.
        """
        what = (training, figure.data, figure.crops or self.recipe.trainings[training].crops)
        found: Scored = self._once(what, lambda: self._scored(training, figure))
        return found

    def _scored(self, training: str, figure: FigureSection) -> Scored:
        found = Scored()
        for run in self.runs(training, figure.data):
            try:
                found.named[run.name] = self.evaluation(run, figure.crops)
            except NotMeasuredError as reason:
                found.missing.append((run.name, str(reason)))
            else:
                found.runs.append(run)
        if not found.runs:
            raise NotMeasuredError(said_once(found.missing))
        return found


def check_comparable(evaluations: Mapping[str, Evaluation]) -> None:
    """Refuse runs, by their names, that are one network twice or have other vectors, with a ValueError."""
    first, *_ = evaluations.values()
    expected = [result.name for result in first.results]
    known: dict[str, str] = {}
    for name, evaluation in evaluations.items():
        digest = evaluation.query.model
        if digest and known.setdefault(digest, name) != name:
            raise ValueError(f"{name} and {known[digest]} are one network; give each run once")
        vectors = [result.name for result in evaluation.results]
        if vectors != expected:
            raise ValueError(
                f"{name} has the vectors {', '.join(vectors)}, the first run {', '.join(expected)}; "
                "compare networks with the same stages"
            )


def worth_something(evaluation: Evaluation) -> Evaluation:
    """The same, or NotMeasuredError where there is nothing to score."""
    if evaluation.nothing_to_score:
        raise NotMeasuredError(evaluation.nothing_to_score)
    return evaluation
