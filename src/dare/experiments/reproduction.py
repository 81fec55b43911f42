"""Tables and figures of a recipe as files in one folder, with a page that shows all of them."""

import contextlib
import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2

from dare import __version__
from dare.experiments.figure3_4 import reproduce_figure3, reproduce_figure4
from dare.experiments.figure5 import reproduce_figure5
from dare.experiments.figure6 import reproduce_figure6
from dare.experiments.figure7_8 import reproduce_figure7, reproduce_figure8
from dare.experiments.plots import Made, new_figure
from dare.experiments.query_stream import SEED
from dare.experiments.recipe import Recipe, RecipeError
from dare.experiments.tables import reproduce_table1, reproduce_table2
from dare.experiments.trainings import Means, NotMeasuredError, Run, check_settings
from dare.experiments.workplace import Workplace
from dare.files import replacing
from dare.gallery.lock import FolderLock

PAGE, RECIPE = "index.html", "recipe.toml"
MARK, LOCK, HOLDER = "reproduction.json", "reproduction.lock", "reproduction.pid"
"""A folder in which a recipe was followed has the first; the other two are of whoever does so now."""

FORMAT = 1
TEMPLATE = Path(__file__).with_name("reproduction.html")

OUTPUTS: dict[str, tuple[str, Callable[..., Made]]] = {
    "table1": ("Table 1: every system on every test set", reproduce_table1),
    "table2": ("Table 2: the data sets", reproduce_table2),
    "figure3": ("Figure 3: the error of every stage and of the fusion", reproduce_figure3),
    "figure4": ("Figure 4: with and without deep supervision", reproduce_figure4),
    "figure5": ("Figure 5: the latest answer when the budget runs out", reproduce_figure5),
    "figure6": ("Figure 6: a stream of queries on a mean budget", reproduce_figure6),
    "figure7": ("Figure 7: what each stage finds", reproduce_figure7),
    "figure8": ("Figure 8: easy and hard queries", reproduce_figure8),
}
"""In the paper's order: title, and what makes it of a workplace; a figure also of its section of the recipe and the
scored runs of each training that it names."""


Output = dict[str, Any]
"""What NAME.json says of a table or a figure: `name`, "table1" to "figure8", and `title`; `files` in the folder, none
where it was not measured; what is `missing` and why; what `stands_in`; `runs` that it is made of; for a figure
`settings`; `costs`, `meaning` and `sections` (the summaries) as of `Made`; the digest of the `recipe`."""


class FolderBusyError(ValueError):
    """Another process follows a recipe in the folder."""


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
    if lacking := [name for name in names if name not in recipe.outputs]:
        has = f"it has {', '.join(recipe.outputs)}"
        raise RecipeError(f"{recipe.source} has no {lacking[0]}; {has}; add a section [{lacking[0]}]")
    check_settings(recipe)
    if not {*recipe.figures}.isdisjoint(names):
        new_figure(1, 1)  # a missing library is reported before anything is trained
    ours = not folder.exists() or (folder / MARK).exists()
    if not ours and any(path.name not in (LOCK, HOLDER) for path in folder.iterdir()):
        raise FileExistsError(
            f"{folder} holds other things; choose a new folder, or one in which a recipe was followed"
        )
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder, LOCK, HOLDER, FolderBusyError)
    lock.take()
    try:
        return _reproduce(Workplace(recipe, folder, means), names, on_output)
    finally:
        lock.release()


def _reproduce(workplace: Workplace, names: Sequence[str], on_output: Callable[[Output], None]) -> Workplace:
    folder, recipe = workplace.folder, workplace.recipe
    _write(folder / MARK, json.dumps({"kind": "reproduction", "format": FORMAT}) + "\n")
    followed = f"# The recipe that was followed here, with absolute paths.\n{recipe.resolved()}"
    _write(folder / RECIPE, followed)
    digest = hashlib.sha256(followed.encode(errors="backslashreplace")).hexdigest()
    _write_page(workplace, digest)
    # All data sets are read first: what is wrong with the last one should not be found after training on the others.
    figures = [recipe.figures[name] for name in names if name in recipe.figures]
    for data in {figure.data for figure in figures} if len(figures) == len(names) else recipe.data:
        with contextlib.suppress(NotMeasuredError):  # reported where it is missed
            workplace.benchmark(data)
    for name in names:
        described = folder / f"{name}.json"
        before = json.loads(described.read_text(encoding="utf-8"))["files"] if described.exists() else []
        try:
            made, settings = _made(workplace, name)
        except NotMeasuredError as reason:
            made, settings = Made({}, (), missing=(f"not measured: {reason}",)), ""
        output = _written(workplace, name, made) | {"settings": settings, "recipe": digest}
        _write(described, json.dumps(output, indent=2) + "\n")
        gone = {Path(file).name for file in before} - {*output["files"]}
        for old in gone:  # removed only now, so that the page never names what is gone
            (folder / old).unlink(missing_ok=True)
        _write_page(workplace, digest)
        on_output(output)
    return workplace


def _made(workplace: Workplace, name: str) -> tuple[Made, str]:
    """An output, and the settings of a figure: crops, and the seed of what is drawn by chance after training."""
    _, make = OUTPUTS[name]
    section = workplace.recipe.figures.get(name)
    if section is None:
        return make(workplace), ""
    scored = [workplace.scored(one, section) for one in (section.training, *section.others)]
    try:
        made = make(workplace, section, *scored)
    except ValueError as error:  # networks that a figure cannot be made of leave its place empty and spoil no other's
        raise NotMeasuredError(str(error)) from error
    runs = tuple(run for one in scored for run in one.runs)
    stands_in = dict.fromkeys(filter(None, (section.stands_in, *(run.stands_in for run in runs))))
    missing = tuple(f"{run}: {reason}" for one in scored for run, reason in one.missing)
    crops = section.crops or workplace.recipe.trainings[section.training].crops
    settings = f"crops: {crops}; seed of the stream's order, of chance and of the bootstrap: {SEED}"
    return replace(made, runs=runs, missing=missing, stands_in=tuple(stands_in)), settings


def _written(workplace: Workplace, name: str, made: Made) -> Output:
    title, _ = OUTPUTS[name]
    files = [path.name for path in made.write(workplace.folder)]
    if made.meaning:
        files.append(f"{name}.md")
        _write(workplace.folder / files[-1], _markdown(title, made, workplace.recipe))
    return {
        "name": name,
        "title": title,
        "files": files,
        "missing": made.missing,
        "stands_in": made.stands_in,
        "runs": [_described(workplace, run) for run in made.runs],
        "settings": "",
        "costs": made.costs,
        "meaning": made.meaning,
        "sections": [asdict(summary) for summary in made.summaries],
    }


def _markdown(title: str, made: Made, recipe: Recipe) -> str:
    parts = [f"# {title}", f"Recipe: {recipe.title}.", made.meaning]
    if recipe.stands_in:
        parts.append(f"**Stands in:** {recipe.stands_in}")
    for summary in made.summaries:
        rows = [summary.header, ("---",) * len(summary.header), *summary.rows]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        parts += [f"## {summary.name}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


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
    about = {name: network.training[name] for name in told if name in network.training}
    return found | {"model": network.digest, "seed": seed} | about


def _write_page(workplace: Workplace, digest: str) -> None:
    """Show what the recipe of this digest made in the folder."""
    described = [workplace.folder / f"{name}.json" for name in OUTPUTS]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in described if path.exists()]
    outputs = [output for output in found if output["recipe"] == digest]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        recipe=workplace.recipe,
        recipe_file=RECIPE,
        outputs=outputs,
        others=[output["name"] for output in found if output not in outputs],
        runs=list({run["run"]: run for output in outputs for run in output["runs"]}.values()),
        versions=_versions(),
    )
    _write(workplace.folder / PAGE, page)


def _versions() -> dict[str, str]:
    found = {"dare": __version__, "Python": platform.python_version()}
    for package in ("numpy", "torch", "torchvision", "matplotlib"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))
