"""`dare reproduce`: tables and figures of the paper, from a recipe or of networks that are named."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from dare.cli.options import ENGINE, BatchSize, Engine, EngineOptions, Layout, limit_threads
from dare.cli.terminal import console, output, progress, stop_on_signal

if TYPE_CHECKING:
    from dare.experiments.recipe import Recipe
    from dare.experiments.reproduction import Output


def reproduce(
    recipe: str,
    /,
    *outputs: str,
    model: Annotated[list[str] | None, Parameter(negative="")] = None,
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    embeddings: Annotated[list[Path] | None, Parameter(negative="")] = None,
    layout: Layout = None,
    out: Path = Path("reproduced"),
    show: Annotated[bool, Parameter(negative="")] = False,
    train: bool = True,
    memory_map: Annotated[bool, Parameter(negative="")] = False,
    batch_size: BatchSize = 64,
    engine: EngineOptions = ENGINE,
) -> None:
    """Tables and figures of the paper, published and measured: train, embed, score, draw what a recipe has.

    Interrupted, the same command goes on where it stopped.

    Parameters
    ----------
    recipe
        paper, tiny, trunks, or a TOML file that says what is trained on which data. Or a figure, such as figure6, to
        draw it of networks that you name: dare reproduce figure6 --model RUN --data DIR.
    outputs
        What to make, such as table1 figure6; all that the recipe has if not given.
    model
        Of a figure alone: a finished network; one --model for each run of the same training.
    data
        Where a data set of the recipe is, as in --data market1501=DIR; of a figure alone the folder itself.
    embeddings
        Of a figure alone: what `dare embed` wrote with each of the networks, in order, so that they need not be run.
    layout
        Of a figure alone: the layout of its data set, if it should not be recognised.
    out
        Folder for tables, figures and index.html; trainings and vectors are kept in it.
    show
        Print the recipe, to start one of your own from, and make nothing.
    train
        Train what has not been trained; otherwise its places stay empty.
    memory_map
        Keep decoded training pictures in files instead of in memory.
    batch_size
        Pictures that are run together.
    """
    from dare.experiments.recipe import FIGURES, load_recipe, recipe_of_figure

    if recipe in FIGURES:
        if outputs or not model or len(data or []) != 1:
            raise ValueError(
                f"{recipe} alone needs --model and one --data, the folder of the pictures; "
                f"or name a recipe first: dare reproduce paper {recipe}"
            )
        (folder,) = map(Path, data or [])
        followed = recipe_of_figure(recipe, model, folder, embeddings=embeddings or [], layout=layout)
        outputs = (recipe,)
    else:
        followed = load_recipe(recipe)
        if model or embeddings or layout:
            raise ValueError(
                "a recipe names what its outputs are made of; leave out --model, --embeddings and --layout"
            )
        followed = followed.with_folders(_folders(data or []))
    if show:
        print(followed.text, end="")
        return
    _follow(followed, outputs or followed.outputs, out, train, memory_map, batch_size, engine)


def _folders(given: list[str]) -> dict[str, Path]:
    pairs = [one.partition("=") for one in given]
    if wrong := [name for name, sign, folder in pairs if not (sign and folder)]:
        raise ValueError(f"expected --data NAME=DIR, such as --data market1501={wrong[0]}, got {wrong[0]}")
    return {name: Path(folder) for name, _, folder in pairs}


def _follow(
    recipe: "Recipe",
    outputs: tuple[str, ...],
    out: Path,
    train: bool,
    memory_map: bool,
    batch_size: int,
    engine: Engine,
) -> None:
    from dare.experiments.reproduction import PAGE
    from dare.experiments.reproduction import reproduce as make
    from dare.experiments.trainings import Means, StoppedError

    limit_threads(engine.threads)
    if recipe.stands_in:
        output.print(f"stands in: {recipe.stands_in}")
    with stop_on_signal() as stopping, progress(one_at_a_time=True) as show:
        means = Means(
            open=engine.open,
            device=engine.device,
            batch_size=batch_size,
            workers=engine.workers,
            memory_map=memory_map,
            train=train,
            on_progress=show,
            on_finished=console.print,
            should_stop=stopping,
        )
        made: list[Output] = []

        def on_output(output: "Output") -> None:
            made.append(output)
            _print(output)

        try:
            workplace = make(recipe, outputs, out, means, on_output)
        except StoppedError as stop:
            console.print(f"dare: {stop}; the same command goes on from there")
            sys.exit(130)
    output.print(f"all of it: {out / PAGE}")
    if broken := workplace.broken:
        console.print(f"dare: trainings that broke off: {broken}; their places are empty")
    if broken or not any(one["files"] for one in made):
        sys.exit(1)


def _print(made: "Output") -> None:
    output.print(f"{made['title']}: {', '.join(made['files']) or 'nothing'}")
    if made["stands_in"]:
        output.print(f"  stands in: {'; '.join(made['stands_in'])}")
    for section in made["sections"]:
        name, header, rows = section["name"], section["header"], section["rows"]
        if made["meaning"]:  # of tables; what is not measured, and the notes, are long and in the file
            rows, header = tuple(row[:-1] for row in rows if row[2]), header[:-1]
        if rows:
            table = Table(*header, title=name or None, title_justify="left")
            for row in rows:
                table.add_row(*row)
            output.print(table)
    for one in made["missing"]:
        output.print(f"  {one}")
