"""`dare reproduce` from a recipe: tables and figures of the paper, with all the trainings behind them."""

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter
from rich.table import Table

from dare.cli.options import Running, RunningOptions, limit_threads
from dare.cli.terminal import console, output, progress, stop_on_signal

if TYPE_CHECKING:
    from dare.experiments.reproduction import Output

FROM_RECIPE = Group("From a recipe", sort_key=2)


@dataclass(frozen=True, slots=True)
class FromRecipe:
    """A recipe, and where what it makes goes."""

    recipe: Annotated[
        str | None, Parameter(help="A TOML file that says what is trained on which data, or paper, or tiny.")
    ] = None
    size: Annotated[
        Literal["tiny"] | None,
        Parameter(help="Instead of a recipe: a few minutes, on drawn people, with stand-ins for everything."),
    ] = None
    out: Annotated[
        Path, Parameter(help="Folder for tables, figures and index.html; trainings and vectors are kept in it.")
    ] = Path("reproduced")
    data: Annotated[
        dict[str, Path] | None, Parameter(help="Folders of the recipe's data sets, as in --data.market1501 DIR.")
    ] = None
    train: Annotated[bool, Parameter(help="Train what has not been; else it stays empty.")] = True
    memory_map: Annotated[
        bool, Parameter(negative="", help="Keep decoded training pictures in files instead of in memory.")
    ] = False


RecipeOptions = Annotated[FromRecipe | None, Parameter(name="*", group=FROM_RECIPE)]


def reproduce_all(*, options: RecipeOptions = None, running: RunningOptions = None) -> None:
    """Every table and figure that a recipe has: train, embed, score, draw. Interrupted, it goes on where it stopped."""
    _reproduce(None, options, running)


def reproduce_table1(*, options: RecipeOptions = None, running: RunningOptions = None) -> None:
    """Rank-1 and mAP of every system on every test set, published and measured."""
    _reproduce("table1", options, running)


def reproduce_table2(*, options: RecipeOptions = None, running: RunningOptions = None) -> None:
    """The data sets: what the paper prints, and what is counted."""
    _reproduce("table2", options, running)


def show_recipe(name: str, out: Path | None = None, /) -> None:
    """Print a recipe that comes with the package, or write it to a file, to start one of your own from.

    Parameters
    ----------
    name
        paper or tiny.
    out
        File to write; paths in it are relative to its folder. Printed if not given.
    """
    from dare.experiments.recipe import load_recipe
    from dare.files import check_writable, replacing

    text = load_recipe(name).text
    if out is None:
        print(text, end="")
        return
    if out.exists():
        raise FileExistsError(f"{out} is there already; choose another file")
    check_writable(out)
    with replacing(out) as file:
        file.write(text.encode())


def or_from_recipe(figure: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command that draws a figure of networks given to it draw the recipe's one too.

    What the command needs becomes optional, and it gets the options of a recipe besides; of its own ones only those of
    running a network go with a recipe.
    """

    def both(direct: Callable[..., None]) -> Callable[..., None]:
        hints, own = get_type_hints(direct, include_extras=True), inspect.signature(direct)
        needed = {name: _shown(name, hints[name]) for name, one in own.parameters.items() if one.default is one.empty}
        parameters = [
            one.replace(annotation=hints[name])
            if name not in needed
            else one.replace(annotation=_optional(hints[name]), default=None)
            for name, one in own.parameters.items()
        ]
        options = inspect.Parameter("options", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=RecipeOptions)

        @functools.wraps(direct)
        def command(*places: Any, options: FromRecipe | None = None, **given: Any) -> None:
            if options is None:
                arguments = own.bind_partial(*places, **given).arguments
                if lacking := [shown for name, shown in needed.items() if arguments.get(name) is None]:
                    raise ValueError(
                        f"{figure} needs a data set, a folder for what is drawn, and networks (lacking: "
                        f"{', '.join(lacking)}); or --recipe FILE, or --size tiny"
                    )
                direct(*places, **given)
                return
            running = given.pop("running", None)
            foreign = [name for name in own.bind_partial(*places, **given).arguments if name != "running"]
            if foreign:
                named = ", ".join(_shown(name, hints[name]) for name in foreign)
                raise ValueError(f"a recipe says itself what {figure} is made of; leave out {named}, or the recipe")
            _reproduce(figure, options, running)

        del command.__wrapped__  # whose signature would be taken for this one's
        command.__signature__ = own.replace(parameters=[*parameters, options])  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in (*parameters, options)}
        return command

    return both


def _optional(hint: Any) -> Any:
    """The same parameter, which may be left out; its type says so too, for where defaults are checked."""
    kind, *about = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    return Annotated[(kind | None, *about, Parameter(required=False))]


def _shown(name: str, hint: Any) -> str:
    """A parameter as the command line calls it."""
    if name in ("root", "out"):
        return name.upper()
    named = [one.name for one in getattr(hint, "__metadata__", ()) if isinstance(one, Parameter) and one.name]
    return next((shown for names in named for shown in names or ()), f"--{name.replace('_', '-')}")


def _reproduce(name: str | None, options: FromRecipe | None, running: Running | None) -> None:
    from dare.experiments.recipe import load_recipe
    from dare.experiments.reproduction import PAGE, reproduce
    from dare.experiments.workplace import Means, StoppedError

    options, running = options or FromRecipe(), running or Running()
    if (options.recipe is None) == (options.size is None):
        raise ValueError("give either --recipe FILE or --size tiny")
    how = Running(
        runner=running.runner,
        precision=running.precision,
        device=running.device,
        threads=running.threads,
        workers=running.workers,
        batch_size=running.batch_size,
    )
    if running != how:
        raise ValueError("how vectors are made is for the recipe to say; leave out all but how the network is run")
    recipe = load_recipe(options.recipe or options.size or "").with_folders(options.data or {})
    limit_threads(running.threads)
    if recipe.stands_in:
        output.print(f"stands in: {recipe.stands_in}")
    with stop_on_signal() as stopping, progress(one_at_a_time=True) as show:
        means = Means(
            open=running.open,
            device=running.device,
            batch_size=running.batch_size,
            workers=running.workers,
            memory_map=options.memory_map,
            train=options.train,
            on_progress=show,
            on_finished=console.print,
            should_stop=stopping,
        )
        try:
            workplace = reproduce(recipe, [name] if name else recipe.outputs, options.out, means, _print)
        except StoppedError as stop:
            console.print(f"dare: {stop}; the same command goes on from there")
            sys.exit(130)
    output.print(f"all of it: {options.out / PAGE}")
    if workplace.broken:
        console.print(f"dare: {len(workplace.broken)} trainings broke off; their places are empty")
        sys.exit(1)


def _print(made: "Output") -> None:
    output.print(f"{made.title}: {', '.join(made.files) or 'nothing'}")
    if made.stands_in:
        output.print(f"  stands in: {'; '.join(made.stands_in)}")
    for section in made.sections:
        rows = [row for row in section.rows if row[2]]
        if rows:
            table = Table(*section.header[:-1], title=section.name, title_justify="left")
            for row in rows:
                table.add_row(*row[:-1])  # notes are long, and in the file
            output.print(table)
    for one in made.missing:
        output.print(f"  {one}")
