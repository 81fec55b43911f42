"""Recipes: files that say which data sets and trainings stand behind the tables and figures of the paper."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from dare.datasets.kinds import misplaced
from dare.experiments import sections
from dare.experiments.sections import EVERYWHERE, DataSet, FigureSection, Name, Row, RowName, Training
from dare.files import parse_toml, said
from dare.retrieval.embeddings import Embeddings
from dare.shipped.network import located

SHIPPED = Path(__file__).with_name("recipes")
"""Recipes that come with the package; their paths are relative to the working directory."""


class RecipeError(ValueError):
    """A recipe that cannot be followed; says where and why."""


class Recipe(BaseModel):
    """What stands behind the tables and figures.

    Attributes:
        stands_in: what all of it is in place of, said in every output; "" for the paper's own.
        crops: of all trainings that do not say otherwise.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    title: str
    stands_in: str = ""
    crops: sections.Crops = 1
    data: dict[Name, DataSet] = Field(min_length=1)
    trainings: dict[Name, Training] = Field(default_factory=dict, alias="training")
    table1: dict[RowName, Row] = Field(default_factory=dict)
    figure3: FigureSection | None = None
    figure4: sections.Figure4Section | None = None
    figure5: sections.Figure5Section | None = None
    figure6: sections.Figure6Section | None = None
    figure7: sections.Figure7Section | None = None
    figure8: sections.Figure8Section | None = None
    _source: Path = PrivateAttr(Path())
    _text: str = PrivateAttr("")

    @model_validator(mode="after")
    def _named(self) -> "Recipe":
        for named in (self.data, self.trainings, self.table1, self.figures):
            for name, section in named.items():
                section._name = name
        for training in self.trainings.values():
            if "crops" not in training.model_fields_set:
                object.__setattr__(training, "crops", self.crops)
        return self

    @model_validator(mode="after")
    def _columns(self) -> "Recipe":
        taken: dict[str, str] = {}
        for name, one in self.data.items():
            if one.column and taken.setdefault(one.column, name) != name:
                raise ValueError(f"data sets {taken[one.column]} and {name} both have column {one.column!r}")
            if one.draw and one.column and not (one.stands_in or self.stands_in):
                raise ValueError(
                    f"data.{name}: drawn people in the place of {one.column} must say so, or they would count as it; "
                    f'add stands_in = "drawn people for {one.column}", or leave column out'
                )
        return self

    @model_validator(mode="after")
    def _known(self) -> "Recipe":
        for training in self.trainings.values():
            for data in training.data:
                _known(f"training.{training.name}", "data set", data, self.data)
        for row in self.table1.values():
            where = f"table1.{row.name}"
            _known(where, "training", row.training, self.trainings)
            data_sets = self.trainings[row.training].data
            if foreign := [one for one in row.metric if one not in (*data_sets, EVERYWHERE)]:
                raise ValueError(f"{where}.metric is for {foreign[0]}, which is not in the data of {row.training}")
            if ("+ML" in row.name) != all(row.metric_on(one) for one in data_sets):
                raise ValueError(f"{where}: rows with +ML need a metric for each data set, and no other has one")
        for figure in self.figures.values():
            _known(figure.name, "data set", figure.data, self.data)
            for one in (figure.training, *figure.others):
                _known(figure.name, "training", one, self.trainings)
                if figure.data not in self.trainings[one].data:
                    raise ValueError(
                        f"{figure.name}: training {one} is not for {figure.data}; add {figure.data} to its data"
                    )
        return self

    @property
    def source(self) -> Path:
        """The path of the file."""
        return self._source

    @property
    def text(self) -> str:
        """Of the file."""
        return self._text

    @property
    def figures(self) -> dict[str, FigureSection]:
        """By name, "figure3" to "figure8"; those that it has."""
        return {name: section for name in FIGURES if (section := getattr(self, name)) is not None}

    @property
    def outputs(self) -> tuple[str, ...]:
        """All that can be made by it, in the paper's order."""
        return ("table1", "table2", *self.figures)

    def with_folders(self, folders: Mapping[str, Path]) -> "Recipe":
        """The same with data sets elsewhere.

        Raises:
            RecipeError: no such data set, or one that is drawn.
        """
        given = [name for name, one in self.data.items() if one.draw is None]
        if unknown := [name for name in folders if name not in given]:
            raise RecipeError(
                f"{self.source} has no data set {unknown[0]!r} that a folder can be given for; "
                f"it has {', '.join(given) or 'none'}"
            )
        moved = {name: self.data[name].model_copy(update={"folder": folder}) for name, folder in folders.items()}
        return self.model_copy(update={"data": {**self.data, **moved}})

    def resolved(self) -> str:
        """The recipe as it is followed, with absolute paths, so that it can be followed from anywhere."""
        content = parse_toml(self.text)
        for name, data in self.data.items():
            if data.folder:
                content["data"][name]["folder"] = str(data.folder.absolute())
        for name, training in self.trainings.items():
            own = content["training"][name]
            for kind in ("checkpoints", "embeddings"):
                for one, paths in getattr(training, kind).items():
                    own[kind][one] = [str(path.absolute()) for path in paths]
            for one, path in training.generated.items():
                own["generated"][one] = str(path.absolute())
        if self.figure6 and self.figure6.times:
            content["figure6"]["times"] = str(self.figure6.times.absolute())
        return tomli_w.dumps(content)


FIGURES = tuple(name for name in Recipe.model_fields if name.startswith("figure"))


def _known(where: str, what: str, name: str, among: Mapping[str, object]) -> None:
    if name not in among:
        raise ValueError(f"{where} names an unknown {what} {name!r}; the recipe has {', '.join(among)}")


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load_recipe(source: str | Path) -> Recipe:
    """Read and check a recipe: a file, or the name of one that comes with the package. See docs/reproduce.md.

    Paths in a file are relative to its folder, in a shipped recipe to the working directory.

    Raises:
        RecipeError: no such recipe, no TOML, or something in it that cannot be.
    """
    shipped = str(source) in shipped_recipes()
    path = SHIPPED / f"{source}.toml" if shipped else Path(source)
    if not path.is_file():
        raise RecipeError(
            misplaced(path, "a TOML file")
            or f"no recipe at {source}; give a TOML file, or one of {', '.join(shipped_recipes())}; or, to draw it of "
            f"networks alone, one of {', '.join(FIGURES)}"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(
            misplaced(path, "a TOML file") or f"{path} isn't text in UTF-8, as TOML is: {error}"
        ) from error
    return _parsed(text, path, Path() if shipped else path.parent)


def recipe_of_figure(
    name: str, models: Sequence[str], folder: Path, *, embeddings: Sequence[Path] = (), layout: str | None = None
) -> Recipe:
    """A recipe of one figure of finished networks.

    Args:
        models: runs of one training: paths, or names of shipped networks.
        folder: the data set.
        embeddings: of each of them, in order, made with as many crops; none to have them made.

    Raises:
        RecipeError: as of `load_recipe`; figure 4 needs two trainings, so a recipe of its own.
        EmbeddingsError: embeddings that cannot be read.
    """
    given: dict[str, Any] = {
        "data": "given",
        "checkpoints": {"given": [str(located(one).absolute()) for one in models]},
    }
    if embeddings:
        given["embeddings"] = {"given": [str(one.absolute()) for one in embeddings]}
        given["crops"] = Embeddings.load(embeddings[0]).crops
    content = {
        "title": f"{name} of {', '.join(models)}",
        "data": {"given": {"folder": str(folder.absolute())} | ({"layout": layout} if layout else {})},
        "training": {"given": given},
        name: {"training": "given", "data": "given"},
    }
    return _parsed(tomli_w.dumps(content), Path(f"the recipe of {name} alone"), Path())


def _parsed(text: str, source: Path, base: Path) -> Recipe:
    """Check a recipe's text, with paths relative to `base`; errors say the source."""
    try:
        content = parse_toml(text)
    except ValueError as error:
        raise RecipeError(f"{source} isn't TOML in which each name stands once: {error}") from error
    try:
        recipe = Recipe.model_validate(content, context={"base": base})
    except ValidationError as error:
        raise RecipeError(said(error, source)) from error
    recipe._source, recipe._text = source, text
    return recipe
