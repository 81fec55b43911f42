"""Tables and figures of a recipe as files in one folder, with a page that shows all of them."""

import contextlib
import csv
import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2

from dare import __version__
from dare.experiments import table1 as first_table
from dare.experiments import table2 as second_table
from dare.experiments.figures import TITLES, draw
from dare.experiments.plots import Section, new_figure, write_table
from dare.experiments.query_stream import SEED
from dare.experiments.recipe import FIGURES, Recipe
from dare.experiments.settings import check_settings
from dare.experiments.trainings import Means, NotMeasuredError, Run
from dare.experiments.workplace import Workplace
from dare.files import FolderLock, replacing

PAGE, RECIPE = "index.html", "recipe.toml"
MARK, LOCK, HOLDER = "reproduction.json", "reproduction.lock", "reproduction.pid"
"""A folder in which a recipe was followed has the first; the other two are of whoever does so now."""

FORMAT = 1
TEMPLATE = Path(__file__).with_name("reproduction.html")

OUTPUTS = {
    "table1": "Table 1: every system on every test set",
    "table2": "Table 2: the data sets",
    **TITLES,
}
"""Name -> title, in the paper's order."""


@dataclass(frozen=True, slots=True)
class Output:
    """A table or a figure as it was made, or why it was not.

    Attributes:
        name: "table1" to "figure8".
        files: names in the folder; none where it was not measured.
        missing: what is not measured, and why.
        stands_in: what is in place of what.
        runs: what it is made of, one line per run.
        settings: of a figure: crops, and the seed of what is drawn by chance after training.
        costs: where multiply-adds come from.
        meaning: of a table.
        sections: the same for people.
    """

    name: str
    title: str
    files: tuple[str, ...]
    missing: tuple[str, ...] = ()
    stands_in: tuple[str, ...] = ()
    runs: tuple[Mapping[str, Any], ...] = ()
    settings: str = ""
    costs: str = ""
    meaning: str = ""
    sections: tuple[Section, ...] = ()


def reproduce(
    recipe: Recipe,
    names: Sequence[str],
    folder: Path,
    means: Means,
    on_output: Callable[[Output], None] = lambda output: None,
) -> Workplace:
    """Make tables and figures: train and embed what they need and what has not been, score it, write it down.

    The folder gets files of each, with what is to be known of it in NAME.json, and the page `index.html` of all that
    this recipe made there, in this call or before. What another recipe made there stays, and is not on the page.

    Args:
        names: of `recipe.outputs`.
        on_output: called with each as soon as it is written.

    Raises:
        RecipeError: a figure that the recipe lacks, or a training or drawn people in the folder with other settings.
        ValueError, OSError: a data set that cannot be read.
        FileExistsError: the folder holds other things.
        FolderBusyError: another process makes things in it.
        StoppedError: stopped on the way; what is finished stays.
        ImportError: figures without matplotlib.
    """
    for name in names:
        recipe.require(name)
    check_settings(recipe)
    if not {*FIGURES}.isdisjoint(names):
        new_figure(1, 1)  # a missing library is said before anything is trained
    _check_ours(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder, LOCK, HOLDER, FolderBusyError)
    lock.take()
    try:
        return _reproduce(Workplace(recipe, folder, means), names, on_output)
    finally:
        lock.release()


class FolderBusyError(ValueError):
    """Another process follows a recipe in the folder."""


def _check_ours(folder: Path) -> None:
    """Refuse a folder with anything in it that is not marked as one of a recipe; a `recipe.toml` may be anybody's."""
    if not folder.exists() or (folder / MARK).exists():
        return
    if any(path.name not in (LOCK, HOLDER) for path in folder.iterdir()):
        raise FileExistsError(
            f"{folder} holds other things; choose a new folder, or one in which a recipe was followed"
        )


def _reproduce(workplace: Workplace, names: Sequence[str], on_output: Callable[[Output], None]) -> Workplace:
    folder = workplace.folder
    with replacing(folder / MARK) as file:
        file.write((json.dumps({"kind": "reproduction", "format": FORMAT}) + "\n").encode())
    with replacing(folder / RECIPE) as file:
        file.write(_followed(workplace.recipe))
    _write_page(workplace)
    _open_data(workplace, names)
    for name in names:
        before = _described_files(folder, name)
        output = _table1(workplace) if name == "table1" else _table2(workplace) if name == "table2" else None
        output = output or _figure(workplace, name)
        with replacing(folder / f"{name}.json") as file:
            described = asdict(output) | {"recipe": _digest(workplace.recipe)}
            file.write((json.dumps(described, indent=2) + "\n").encode())
        for old in before - {*output.files}:  # only now, so that the page never names what is gone
            (folder / old).unlink(missing_ok=True)
        _write_page(workplace)
        on_output(output)
    return workplace


def _open_data(workplace: Workplace, names: Sequence[str]) -> None:
    """Read all data sets first: what is wrong with the last one should not be found after training on the others."""
    figures = workplace.recipe.figures
    tables = {"table1", "table2"} & {*names}
    needed = workplace.recipe.data if tables else {figures[name].data for name in names}
    for one in needed:
        with contextlib.suppress(NotMeasuredError):  # said where it is missed
            workplace.benchmark(one)


def _followed(recipe: Recipe) -> bytes:
    text = f"# The recipe that was followed here, with absolute paths.\n{recipe.resolved()}"
    return text.encode(errors="backslashreplace")


def _digest(recipe: Recipe) -> str:
    """Tells outputs of one recipe from those of others."""
    return hashlib.sha256(_followed(recipe)).hexdigest()


def _table1(workplace: Workplace) -> Output:
    cells = first_table.table1(workplace.recipe, workplace)
    made_of = dict.fromkeys((cell.training, cell.data) for cell in cells if cell.runs)
    runs = [run for training, data in made_of for run in workplace.runs(training, data)]
    lines = [cell.line() for cell in cells]
    told = first_table.missing(cells)
    return _write_table(workplace, "table1", first_table.MEANING, lines, first_table.sections(cells), runs, told)


def _table2(workplace: Workplace) -> Output:
    counts = second_table.table2(workplace)
    lines = [count.line() for count in counts]
    told = tuple(dict.fromkeys(f"{count.column}: {count.missing}" for count in counts if count.missing))
    return _write_table(workplace, "table2", second_table.MEANING, lines, second_table.sections(counts), [], told)


def _write_table(
    workplace: Workplace,
    name: str,
    meaning: str,
    lines: list[dict[str, Any]],
    sections: tuple[Section, ...],
    runs: Sequence[Run],
    missing: tuple[str, ...],
) -> Output:
    folder = workplace.folder
    stands_in = tuple(dict.fromkeys(filter(None, (run.stands_in for run in runs))))
    if name == "table2":
        told = (data.stands_in or workplace.recipe.stands_in for data in workplace.recipe.data.values())
        stands_in = tuple(dict.fromkeys(filter(None, told)))
    output = Output(
        name,
        OUTPUTS[name],
        (f"{name}.csv", f"{name}.md"),
        missing,
        stands_in,
        tuple(_described(workplace, run) for run in runs),
        meaning=meaning,
        sections=sections,
    )
    write_table(lines, folder / f"{name}.csv")
    with replacing(folder / f"{name}.md") as file:
        file.write(_markdown(output, workplace.recipe).encode())
    return output


def _markdown(output: Output, recipe: Recipe) -> str:
    parts = [f"# {output.title}", f"Recipe: {recipe.title}.", output.meaning]
    if recipe.stands_in:
        parts.append(f"**Stands in:** {recipe.stands_in}")
    for section in output.sections:
        rows = [section.header, ("---",) * len(section.header), *section.rows]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        parts += [f"## {section.name}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _figure(workplace: Workplace, name: str) -> Output:
    figure = workplace.recipe.figures[name]
    try:
        drawn = draw(name, workplace, workplace.folder)
    except NotMeasuredError as reason:
        return Output(name, OUTPUTS[name], (), (f"not measured: {reason}",))
    remarks = dict.fromkeys(filter(None, (figure.stands_in, *(run.stands_in for run in drawn.runs))))
    crops = figure.crops or workplace.recipe.trainings[figure.training].crops
    for path in drawn.files:
        if path.suffix == ".csv" and remarks:
            _add_column(path, "stands_in", "; ".join(remarks))
    return Output(
        name,
        OUTPUTS[name],
        tuple(path.name for path in drawn.files),
        drawn.missing,
        tuple(remarks),
        tuple(_described(workplace, run) for run in drawn.runs),
        f"crops: {crops}; seed of the stream's order, of chance and of the bootstrap: {SEED}",
        drawn.costs,
        sections=(drawn.summary,),
    )


def _add_column(path: Path, name: str, value: str) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    write_table(({**row, name: value} for row in rows), path)


def _described(workplace: Workplace, run: Run) -> dict[str, Any]:
    """What is to be known of a run, as far as it says."""
    found: dict[str, Any] = {
        "run": run.name,
        "stands_in": run.stands_in,
        "crops": run.training.crops,
        "made_by": run.made_by,
    }
    try:
        network = workplace.network(run)
    except NotMeasuredError as reason:
        return found | {"network": str(reason)}
    told = ("data", "people", "pictures", "iterations", "seconds", "device", "torch")
    seed = network.training.get("config", {}).get("seed")
    return (
        found
        | {"model": network.digest, "seed": seed}
        | {name: network.training[name] for name in told if name in network.training}
    )


def _described_files(folder: Path, name: str) -> set[str]:
    """Names of what an earlier call made."""
    described = folder / f"{name}.json"
    if not described.exists():
        return set()
    return {Path(file).name for file in json.loads(described.read_text(encoding="utf-8"))["files"]}


def _write_page(workplace: Workplace) -> None:
    folder, recipe = workplace.folder, workplace.recipe
    described = [folder / f"{name}.json" for name in OUTPUTS]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in described if path.exists()]
    digest = _digest(recipe)
    outputs = [output for output in found if output["recipe"] == digest]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        recipe=recipe,
        recipe_file=RECIPE,
        outputs=outputs,
        others=[output["name"] for output in found if output not in outputs],
        runs=list({run["run"]: run for output in outputs for run in output["runs"]}.values()),
        versions=_versions(),
    )
    with replacing(folder / PAGE) as file:
        file.write(page.encode(errors="backslashreplace"))


def _versions() -> dict[str, str]:
    found = {"dare": __version__, "Python": platform.python_version()}
    for package in ("numpy", "torch", "torchvision", "matplotlib"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
