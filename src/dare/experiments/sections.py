"""What the sections of a recipe may say: data sets, trainings, rows of table 1 and figures."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from dare.datasets import BENCHMARKS
from dare.experiments.published import COLUMNS, published_table1
from dare.synthetic import SIZES, Knobs


def _different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len({*values}) < len(values):
        raise ValueError(f"names something twice: {', '.join(map(str, values))}")
    return values


def _below(path: Path, info: ValidationInfo) -> Path:
    """Paths in a file are relative to its folder."""
    return Path((info.context or {}).get("base", Path())) / path


def _one_of(known: Mapping[str, object]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"unknown name {name!r}; choose {', '.join(known)}")
        return name

    return AfterValidator(check)


EVERYWHERE = "*"
"""In the place of a data set's name."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Of data sets and trainings, which have folders of these names."""
File = Annotated[Path, Field(strict=False), AfterValidator(_below)]
_OneOrMore = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1), _OneOrMore, AfterValidator(_different)]
Files = Annotated[tuple[File, ...], Field(strict=False, min_length=1), _OneOrMore, AfterValidator(_different)]
RowName = Annotated[str, _one_of({row.name: row for row in published_table1()})]
"""Of a row of table 1."""
Crops = Literal[1, 10]
Metric = Literal["kissme", "xqda"]


class _Section(BaseModel):
    """A table of the file; the recipe tells it its name.

    Attributes:
        stands_in: what this is in place of, and why; "" where it is the paper's.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    stands_in: str = ""
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """What the recipe calls it."""
        return self._name


class DataSet(_Section):
    """Pictures to train and to test on: a folder, or people who are drawn; the keys are those of docs/reproduce.md."""

    folder: File | None = None
    layout: Annotated[str, _one_of(BENCHMARKS)] | None = None
    draw: Annotated[str, _one_of(SIZES)] | None = None
    knobs: dict[str, Any] = Field(default_factory=dict)
    seed: int = 1
    column: Annotated[str, _one_of(COLUMNS)] | None = None

    @model_validator(mode="after")
    def _given_or_drawn(self) -> "DataSet":
        if (self.folder is None) == (self.draw is None):
            raise ValueError("needs either a folder of pictures, or draw, the size of a benchmark to draw")
        foreign = {"layout"} if self.draw else {"knobs", "seed"}
        if found := sorted(foreign & self.model_fields_set):
            raise ValueError(f"{found[0]} belongs to {'folder' if self.draw else 'draw'}; leave it out")
        try:
            _ = self.drawn
        except (TypeError, ValueError) as error:
            raise ValueError(f"knobs: {error}") from error
        return self

    @property
    def drawn(self) -> Knobs:
        """How people are drawn."""
        return replace(SIZES[self.draw or "tiny"], **self.knobs)


class Training(_Section):
    """Networks that are trained alike, one for each data set and run; the keys are those of docs/reproduce.md."""

    data: Names
    preset: str = "paper"
    settings: dict[str, Any] = Field(default_factory=dict)
    runs: int = Field(1, ge=1)
    crops: Crops = 1
    distance: Literal["euclidean", "cosine"] = "euclidean"
    checkpoints: dict[str, Files] = Field(default_factory=dict)
    embeddings: dict[str, Files] = Field(default_factory=dict)
    generated: dict[str, File] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _given_for_its_data(self) -> "Training":
        for key in ("checkpoints", "embeddings", "generated"):
            if foreign := [one for one in getattr(self, key) if one not in self.data]:
                raise ValueError(f"{key} has {foreign[0]}, which is not in its data; add it there")
        of_training = [key for key in ("preset", "settings", "runs", "generated") if key in self.model_fields_set]
        if of_training and not self.trained_on:
            raise ValueError(
                "trains nothing, as what it would make is given for all its data; leave out " + ", ".join(of_training)
            )
        for one in {*self.checkpoints} & {*self.embeddings}:
            if len(self.checkpoints[one]) != len(self.embeddings[one]):
                counts = len(self.checkpoints[one]), len(self.embeddings[one])
                raise ValueError(
                    "gives {} checkpoints and {} files of embeddings for {}; give one file for each".format(
                        *counts, one
                    )
                )
        return self

    def count(self, data: str) -> int:
        """How many runs there are on a data set."""
        given = self.checkpoints.get(data) or self.embeddings.get(data)
        return len(given) if given else self.runs

    @property
    def trained_on(self) -> tuple[str, ...]:
        """The data sets for which nothing finished is given."""
        return tuple(name for name in self.data if name not in {*self.checkpoints, *self.embeddings})


class Row(_Section):
    """Which training is measured for a row of table 1.

    Attributes:
        metric: data set, or `EVERYWHERE` -> the distance that is learnt, for rows with metric learning.
        stands_in: what the row's network is replaced by, and why; beside what the training says of itself.
    """

    training: str
    metric: Annotated[
        dict[str, Metric], BeforeValidator(lambda value: {EVERYWHERE: value} if isinstance(value, str) else value)
    ] = Field(default_factory=dict)

    def metric_on(self, data: str) -> Metric | None:
        """The distance that is learnt on a data set, if any."""
        return self.metric.get(data, self.metric.get(EVERYWHERE))

    @model_validator(mode="before")
    @classmethod
    def _training_alone(cls, value: object) -> object:
        return {"training": value} if isinstance(value, str) else value


class FigureSection(_Section):
    """What a figure shows: whose runs, on which pictures, with how many crops if not the training's own."""

    training: str
    data: str
    crops: Crops | None = None

    @property
    def others(self) -> tuple[str, ...]:
        """Other trainings that it shows."""
        return ()


class Figure4Section(FigureSection):
    """Beside them a training without deep supervision."""

    without: str

    @property
    def others(self) -> tuple[str, ...]:
        return (self.without,)


class Figure5Section(FigureSection):
    """Beside them trainings whose networks are evaluated one after the other."""

    against: Annotated[tuple[str, ...], Field(strict=False), _OneOrMore, AfterValidator(_different)] = ()

    @property
    def others(self) -> tuple[str, ...]:
        return self.against


class Figure6Section(FigureSection):
    """At how many budgets; costs in milliseconds where times are given that `dare calibrate --out` wrote."""

    budgets: int = Field(50, ge=2)
    times: File | None = None


class Figure7Section(FigureSection):
    """How many cases of each kind, and how many entries of each ranked list."""

    count: int = Field(1, ge=1)
    ranks: int = Field(3, ge=1)


class Figure8Section(FigureSection):
    """How many cases of each kind."""

    count: int = Field(8, ge=1)
