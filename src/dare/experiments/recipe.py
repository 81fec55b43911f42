"""Recipes: files that say which data sets and trainings stand behind the tables and figures of the paper."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import tomli_w

from dare import missing_extra
from dare.datasets import BENCHMARKS
from dare.experiments.published_tables import COLUMNS, published_table1
from dare.synthetic import SIZES, Knobs

if TYPE_CHECKING:
    from dare.training.config import TrainConfig

SHIPPED = Path(__file__).with_name("recipes")
"""Recipes that come with the package; their paths are relative to the working directory."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Of data sets and trainings, which have folders of these names."""

Metric = Literal["kissme", "xqda"]
Distance = Literal["euclidean", "cosine"]

FIGURES: dict[str, tuple[str, ...]] = {
    "figure3": (),
    "figure4": ("without",),
    "figure5": ("against",),
    "figure6": ("budgets",),
    "figure7": ("count",),
    "figure8": ("count",),
}
"""Figure -> what its section may hold beside `training`, `data`, `crops` and `stands_in`."""

T = TypeVar("T")


class RecipeError(ValueError):
    """A recipe that cannot be followed; says where and why."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Pictures to train and to test on.

    Attributes:
        folder: where they are; None for people who are drawn.
        layout: a name in `BENCHMARKS`; None to have it recognised.
        draw: a name in `SIZES`; None for pictures that exist.
        knobs: of the people drawn, where they differ from that size's.
        seed: of the people drawn.
        column: of table 1 and of table 2, as in `COLUMNS`; None for a data set that is in neither.
        stands_in: what these pictures are in place of, and why; "" where they are those of the paper.
    """

    name: str
    folder: Path | None = None
    layout: str | None = None
    draw: str | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1
    column: str | None = None
    stands_in: str = ""

    @property
    def drawn(self) -> Knobs:
        """How people are drawn."""
        return replace(SIZES[self.draw or "tiny"], **self.knobs)


@dataclass(frozen=True, slots=True)
class Training:
    """Networks that are trained alike: one for each data set and run.

    Attributes:
        preset, settings: as of `dare train`.
        data: names of the data sets.
        runs: trainings with different seeds on each of them, counted up from the settings' own.
        crops: 1, or 10 for the mean over ten crops of each picture.
        distance: that its vectors are compared by.
        stands_in: what this network is in place of, and why; "" where it is the paper's.
        checkpoints, embeddings: data set -> finished networks, or their vectors, to take instead of training.
        generated: data set -> a folder of pictures that show nobody, for networks that learn from such too.
    """

    name: str
    preset: str
    settings: Mapping[str, Any]
    data: tuple[str, ...]
    runs: int = 1
    crops: int = 1
    distance: Distance = "euclidean"
    stands_in: str = ""
    checkpoints: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    embeddings: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    generated: Mapping[str, Path] = field(default_factory=dict)

    def count(self, data: str) -> int:
        """How many runs there are on a data set."""
        given = self.checkpoints.get(data) or self.embeddings.get(data)
        return len(given) if given else self.runs

    @property
    def trained_on(self) -> tuple[str, ...]:
        """The data sets for which nothing finished is given."""
        return tuple(name for name in self.data if name not in {*self.checkpoints, *self.embeddings})

    def config(self, run: int = 0) -> "TrainConfig":
        """All settings of a run, counted from 0.

        Raises:
            RecipeError: an unknown preset, backbone or setting, or a value that cannot be.
        """
        from dare.models.backbones import BACKBONES
        from dare.training.presets import PRESETS, configure

        where = f"training.{self.name}"
        if self.preset not in PRESETS:
            raise RecipeError(f"{where}: unknown preset {self.preset!r}; choose {', '.join(PRESETS)}")
        preset = PRESETS[self.preset]
        now = _flat(preset)
        for name, value in self.settings.items():
            if name not in now:
                raise RecipeError(f"{where}.settings has an unknown setting {name!r}; choose {', '.join(now)}")
            _check_kind(f"{where}.settings.{name}", value, now[name])
        try:
            config = configure(preset, self.settings)
        except (TypeError, ValueError) as error:
            raise RecipeError(f"{where}.settings: {error}") from error
        backbone = config.architecture.backbone
        if backbone not in BACKBONES and not backbone.startswith("timm/"):
            raise RecipeError(f"{where}: unknown backbone {backbone!r}; choose {', '.join(BACKBONES)} or timm/NAME")
        return replace(config, seed=config.seed + run)


@dataclass(frozen=True, slots=True)
class Row:
    """Which training is measured for a row of table 1.

    Attributes:
        metric: data set -> the distance that is learnt, for rows with metric learning.
        stands_in: what the row's network is replaced by, and why; beside what the training says of itself.
    """

    name: str
    training: str
    metric: Mapping[str, Metric] = field(default_factory=dict)
    stands_in: str = ""

    @property
    def reranked(self) -> bool:
        """Whether the row is one with re-ranking."""
        return "+RR" in self.name


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure shows.

    Attributes:
        name: "figure3" to "figure8".
        training, data: whose runs, and on which pictures.
        others: of figure 4 the training without deep supervision; of figure 5 those evaluated one after the other.
        crops: as of a training; None for the training's own.
        count: of figures 7 and 8 how many cases, of figure 6 how many budgets; None for the figure's own default.
        stands_in: as of a row.
    """

    name: str
    training: str
    data: str
    others: tuple[str, ...] = ()
    crops: int | None = None
    count: int | None = None
    stands_in: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What stands behind the tables and figures.

    Attributes:
        text: of the file.
        source: its path.
        stands_in: what all of it is in place of, said in every output; "" for the paper's own.
    """

    title: str
    source: Path
    text: str
    data: Mapping[str, DataSet]
    trainings: Mapping[str, Training]
    table1: tuple[Row, ...]
    figures: Mapping[str, Figure]
    stands_in: str = ""

    @property
    def outputs(self) -> tuple[str, ...]:
        """All that can be made by it, in the paper's order."""
        return ("table1", "table2", *(name for name in FIGURES if name in self.figures))

    def require(self, name: str) -> None:
        """Refuse an output that this recipe does not have."""
        if name not in self.outputs:
            raise RecipeError(f"{self.source} has no {name}; it has {', '.join(self.outputs)}; add a section [{name}]")

    def with_folders(self, folders: Mapping[str, Path]) -> "Recipe":
        """The same with data sets elsewhere.

        Raises:
            RecipeError: no such data set, or one that is drawn.
        """
        for name in folders:
            if name not in self.data or self.data[name].draw is not None:
                known = [data.name for data in self.data.values() if data.draw is None]
                raise RecipeError(
                    f"{self.source} has no data set {name!r} that a folder can be given for; "
                    f"it has {', '.join(known) or 'none'}"
                )
        data = {name: replace(one, folder=folders[name]) if name in folders else one for name, one in self.data.items()}
        return replace(self, data=data)

    def resolved(self) -> str:
        """The recipe as it is followed, with absolute paths, so that it can be followed from anywhere."""
        content = tomllib.loads(self.text)
        for name, data in self.data.items():
            if data.folder:
                content["data"][name]["folder"] = str(data.folder.absolute())
        for name, training in self.trainings.items():
            own = content["training"][name]
            for kind in _GIVEN:
                for one, paths in getattr(training, kind).items():
                    own[kind][one] = [str(path.absolute()) for path in paths]
            for one, path in training.generated.items():
                own["generated"][one] = str(path.absolute())
        return tomli_w.dumps(content)


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
        raise RecipeError(f"no recipe at {source}; give a TOML file, or one of {', '.join(shipped_recipes())}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is no text in UTF-8, as TOML is: {error}") from error
    try:
        content = tomllib.loads(text)
        return _recipe(_Section("", content), path, text, Path() if shipped else path.parent)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not TOML in which each name stands once: {error}") from error
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


class _Section:
    """A table of the file, from which values are taken until nothing is left.

    Args:
        where: its name, "" for the whole file.
    """

    def __init__(self, where: str, content: Mapping[str, Any]) -> None:
        self.where, self._left, self._known = where, dict(content), list[str]()

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def key(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def take(self, name: str, kind: type[T], default: T | None = None) -> T:
        """A value of a kind; without a default it must be there."""
        self._known.append(name)
        value = self._left.pop(name, default)
        if value is None:
            raise RecipeError(f"{self.where or 'the recipe'} lacks {name}")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise RecipeError(f"{self.key(name)} must be {_KINDS[kind]}, got {value!r}")
        return value

    def maybe(self, name: str, kind: type[T]) -> T | None:
        """A value that may be missing."""
        if name in self._left:
            return self.take(name, kind)
        self._known.append(name)
        return None

    def names(self, name: str) -> tuple[str, ...]:
        """A string, or a list of different ones."""
        self._known.append(name)
        return _strings(self.key(name), self._left.pop(name, []))

    def sections(self, name: str) -> dict[str, "_Section"]:
        """Sections below, each with a name of its own."""
        found = self.take(name, dict, {})
        for key, content in found.items():
            if not isinstance(content, dict):
                raise RecipeError(f"{self.key(name)}.{key} must be a section, got {content!r}")
            if not NAME.fullmatch(key):
                raise RecipeError(f"{self.key(name)}: {key!r} cannot be a name; take letters, digits, '.', '_', '-'")
        return {key: _Section(f"{self.key(name)}.{key}", content) for key, content in found.items()}

    def done(self) -> None:
        """Refuse what nobody asked for."""
        for name in self._left:
            raise RecipeError(
                f"{self.where or 'the recipe'} has an unknown key {name!r}; expected {', '.join(self._known)}"
            )


_KINDS = {str: "a string", int: "a whole number", float: "a number", dict: "a section", list: "a list"}


def _recipe(top: _Section, path: Path, text: str, base: Path) -> Recipe:
    data = {name: _data_set(name, section, base) for name, section in top.sections("data").items()}
    if not data:
        raise RecipeError("the recipe names no data set; add a section [data.NAME]")
    _refuse_shared_columns(data)
    crops = top.take("crops", int, 1)
    trainings = {
        name: _training(name, section, data, crops, base) for name, section in top.sections("training").items()
    }
    table1 = tuple(_row(name, entry, trainings) for name, entry in top.take("table1", dict, {}).items())
    figures = {}
    for name in FIGURES:
        content = top.maybe(name, dict)
        if content is not None:
            figures[name] = _figure(name, _Section(name, content), data, trainings)
    title, stands_in = top.take("title", str), top.take("stands_in", str, "")
    top.done()
    recipe = Recipe(title, path, text, data, trainings, table1, figures, stands_in)
    for one in data.values():
        if one.draw and one.column and not (one.stands_in or stands_in):
            raise RecipeError(
                f"data.{one.name}: drawn people in the place of {one.column} must say so, or they would count as it; "
                f'add stands_in = "drawn people for {one.column}", or leave column out'
            )
    _check_settings(recipe)
    return recipe


def _data_set(name: str, section: _Section, base: Path) -> DataSet:
    folder, layout, draw = (section.maybe(key, str) for key in ("folder", "layout", "draw"))
    knobs, seed = section.take("knobs", dict, {}), section.maybe("seed", int)
    column, stands_in = section.maybe("column", str), section.take("stands_in", str, "")
    section.done()
    where = section.where
    if (folder is None) == (draw is None):
        raise RecipeError(f"{where} needs either a folder of pictures, or draw, the size of a benchmark to draw")
    if layout is not None and layout not in BENCHMARKS:
        raise RecipeError(f"{where}: unknown layout {layout!r}; choose {', '.join(BENCHMARKS)}")
    if draw is not None and draw not in SIZES:
        raise RecipeError(f"{where}: unknown size {draw!r}; choose {', '.join(SIZES)}")
    if draw is None and (knobs or seed is not None):
        raise RecipeError(f"{where}: {'knobs belong' if knobs else 'seed belongs'} to draw; leave them out")
    if draw is not None and layout is not None:
        raise RecipeError(f"{where}: layout belongs to folder; leave it out")
    if column is not None and column not in COLUMNS:
        raise RecipeError(f"{where}: unknown column {column!r}; choose {', '.join(COLUMNS)}")
    seed = 1 if seed is None else seed
    found = DataSet(name, base / folder if folder else None, layout, draw, knobs, seed, column, stands_in)
    try:
        _ = found.drawn
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{where}.knobs: {error}") from error
    return found


def _refuse_shared_columns(data: Mapping[str, DataSet]) -> None:
    taken: dict[str, str] = {}
    for one in data.values():
        if one.column and taken.setdefault(one.column, one.name) != one.name:
            raise RecipeError(f"data sets {taken[one.column]} and {one.name} both have column {one.column!r}")


def _training(name: str, section: _Section, data: Mapping[str, DataSet], crops: int, base: Path) -> Training:
    where = section.where
    of_training = [key for key in ("preset", "settings", "runs", "generated") if key in section]
    preset, settings = section.take("preset", str, "paper"), section.take("settings", dict, {})
    named, runs = section.names("data"), section.take("runs", int, 1)
    crops, distance = section.take("crops", int, crops), section.take("distance", str, "euclidean")
    stands_in = section.take("stands_in", str, "")
    given = {kind: _paths(f"{where}.{kind}", section.take(kind, dict, {}), base) for kind in _GIVEN}
    generated = section.take("generated", dict, {})
    section.done()
    if not named:
        raise RecipeError(f"{where} lacks data, the names of the data sets that it is for")
    for one in named:
        if one not in data:
            raise RecipeError(f"{where} names an unknown data set {one!r}; the recipe has {', '.join(data)}")
    for key, each in {**given, "generated": generated}.items():
        if foreign := [one for one in each if one not in named]:
            raise RecipeError(f"{where}.{key} has {foreign[0]}, which is not in its data; add it there")
    if of_training and not {*named} - {*given["checkpoints"], *given["embeddings"]}:
        raise RecipeError(
            f"{where} trains nothing, as what it would make is given for all its data; leave out "
            f"{', '.join(of_training)}"
        )
    _check_folders(f"{where}.generated", generated)
    for one in {*given["checkpoints"]} & {*given["embeddings"]}:
        if len(given["checkpoints"][one]) != len(given["embeddings"][one]):
            raise RecipeError(f"{where} gives embeddings and checkpoints for {one}, but not one for each other")
    if runs < 1:
        raise RecipeError(f"{where}.runs must be at least 1, got {runs}")
    if crops not in (1, 10):
        raise RecipeError(f"{where}.crops must be 1 or 10, got {crops}")
    if distance not in get_args(Distance):
        raise RecipeError(f"{where}.distance must be one of {', '.join(get_args(Distance))}, got {distance!r}")
    by: Any = distance
    nobody = {one: base / path for one, path in generated.items()}
    return Training(name, preset, settings, named, runs, crops, by, stands_in, **given, generated=nobody)


_GIVEN = ("checkpoints", "embeddings")


def _check_folders(where: str, content: Mapping[str, Any]) -> None:
    for name, path in content.items():
        if not isinstance(path, str):
            raise RecipeError(f"{where}.{name} must be a folder, got {path!r}")


def _paths(where: str, content: Mapping[str, Any], base: Path) -> dict[str, tuple[Path, ...]]:
    paths = {name: tuple(base / one for one in _strings(f"{where}.{name}", value)) for name, value in content.items()}
    for name, found in paths.items():
        if not found:
            raise RecipeError(f"{where}.{name} is empty; leave it out to have it trained")
    return paths


def _strings(where: str, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise RecipeError(f"{where} must be a string, or a list of strings, got {value!r}")
    if len({*values}) < len(values):
        raise RecipeError(f"{where} names something twice: {', '.join(values)}")
    return tuple(values)


def _row(name: str, entry: Any, trainings: Mapping[str, Training]) -> Row:
    known = [row.name for row in published_table1()]
    if name not in known:
        raise RecipeError(f"table1 has no row {name!r}; its rows are {', '.join(known)}")
    where = f'table1."{name}"'
    section = _Section(where, {"training": entry} if isinstance(entry, str) else _as_section(where, entry))
    training, stands_in = section.take("training", str), section.take("stands_in", str, "")
    _known_training(where, training, trainings)
    learnt: Mapping[str, Any] = {}
    if "+ML" in name:
        data, metric = trainings[training].data, section.take("metric", object)
        learnt = metric if isinstance(metric, dict) else dict.fromkeys(data, metric)
        for one in (*data, *learnt):
            if one not in data:
                raise RecipeError(f"{where}.metric is for {one}, which is not in the data of {training}")
            if learnt.get(one) not in get_args(Metric):
                raise RecipeError(
                    f"{where}.metric must be one of {', '.join(get_args(Metric))} (for {one}), got {learnt.get(one)!r}"
                )
    section.done()
    return Row(name, training, learnt, stands_in)


def _as_section(where: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise RecipeError(f"{where} must be the name of a training, or a section, got {entry!r}")
    return entry


def _figure(name: str, section: _Section, data: Mapping[str, DataSet], trainings: Mapping[str, Training]) -> Figure:
    where, own = section.where, FIGURES[name]
    training, shown = section.take("training", str), section.take("data", str)
    crops, stands_in = section.maybe("crops", int), section.take("stands_in", str, "")
    others: tuple[str, ...] = ()
    if "without" in own:
        others = (section.take("without", str),)
    if "against" in own:
        others = section.names("against")
    count = next((section.maybe(key, int) for key in own if key in ("budgets", "count")), None)
    section.done()
    if shown not in data:
        raise RecipeError(f"{where} names an unknown data set {shown!r}; the recipe has {', '.join(data)}")
    for one in (training, *others):
        _known_training(where, one, trainings)
        if shown not in trainings[one].data:
            raise RecipeError(f"{where}: training {one} is not for {shown}; add {shown} to its data")
    if crops not in (None, 1, 10):
        raise RecipeError(f"{where}.crops must be 1 or 10, got {crops}")
    if count is not None and count < 1:
        raise RecipeError(f"{where}.{own[0]} must be at least 1, got {count}")
    return Figure(name, training, shown, others, crops, count, stands_in)


def _known_training(where: str, name: str, trainings: Mapping[str, Training]) -> None:
    if name not in trainings:
        raise RecipeError(f"{where} names no training of this recipe, but {name!r}; it has {', '.join(trainings)}")


def _check_settings(recipe: Recipe) -> None:
    """Find out now what a training would refuse later; without torch nothing is trained here."""
    try:
        for training in recipe.trainings.values():
            if training.trained_on:
                _check_generated(training, training.config())
        for figure in recipe.figures.values():
            _check_figure(figure, recipe.trainings)
    except ModuleNotFoundError as error:
        if not missing_extra(error):
            raise


def _check_generated(training: Training, config: "TrainConfig") -> None:
    wanted = {*training.trained_on} if config.generated_images else set()
    if wanted != {*training.generated} & {*training.trained_on} or (training.generated and not wanted):
        raise RecipeError(
            f"training.{training.name} takes {config.generated_images} generated pictures in a batch, and names "
            f"folders of them for {', '.join(training.generated) or 'no data set'}; name one for each data set that it "
            "is trained on, or none"
        )


def _check_figure(figure: Figure, trainings: Mapping[str, Training]) -> None:
    """Refuse networks that a figure cannot be made of, as far as they are trained here."""
    named = [trainings[name] for name in (figure.training, *figure.others)]
    configs = [training.config() if figure.data in training.trained_on else None for training in named]
    first, *others = configs
    if first and figure.name in ("figure6", "figure7", "figure8") and _exits(first) == 1:
        raise RecipeError(
            f"{figure.name} needs a network with more than one exit, and training {figure.training} has one; "
            "take another training"
        )
    if first and figure.name == "figure7" and not first.architecture.fusion:
        raise RecipeError(f"figure7 shows what the fusion adds, and training {figure.training} has none; take another")
    if figure.name != "figure4":
        return
    if figure.training in figure.others:
        raise RecipeError(f"figure4 compares two trainings, and {figure.training} is both; name another one as without")
    (other,) = others
    if other and other.deep_supervision:
        raise RecipeError(
            f"figure4: training {figure.others[0]} has a loss on every stage; set deep_supervision = false in its "
            "settings"
        )
    if first and other and _vectors(first) != _vectors(other):
        raise RecipeError(f"figure4: trainings {figure.training} and {figure.others[0]} differ in taps or fusion")


def _exits(config: "TrainConfig") -> int | None:
    """How many exits a network has; None for one behind each stage."""
    from dare.models.checkpoints import DARE

    if config.architecture.network != DARE:
        return 1
    return None if config.architecture.taps is None else len(config.architecture.taps)


def _vectors(config: "TrainConfig") -> tuple[object, ...]:
    return config.architecture.network, config.architecture.taps, config.architecture.fusion


def _flat(config: "TrainConfig") -> dict[str, Any]:
    """Setting -> value, wherever in a configuration it stands."""
    found: dict[str, Any] = {}
    for one in fields(config):
        value = getattr(config, one.name)
        if one.name in ("architecture", "preparation", "augmentation"):
            found |= {inner.name: getattr(value, inner.name) for inner in fields(value)}
        else:
            found[one.name] = value
    return found


def _check_kind(where: str, value: Any, preset: Any) -> None:
    """TOML's kinds against the preset's; a whole number will do for any number."""
    if where.endswith(".taps"):  # None in a preset, for all of them
        right = isinstance(value, list) and all(type(tap) is int for tap in value)
    elif preset is None or isinstance(preset, str):
        right = isinstance(value, str)
    elif isinstance(preset, bool) or isinstance(value, bool):
        right = type(value) is type(preset)
    else:
        right = isinstance(value, int) or (isinstance(value, float) and isinstance(preset, float))
    if not right:
        like = "a list of whole numbers" if where.endswith(".taps") else f"of the kind of {preset!r}"
        raise RecipeError(f"{where} must be {like}, got {value!r}")
