"""`dare reproduce figure3` and `figure4`: figures over several runs of one recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from dare.cli.options import Layout, Root, Running, RunningOptions
from dare.cli.scored import scored
from dare.cli.terminal import output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dare.evaluation.evaluate import Evaluation
    from dare.experiments.accuracy import Measure
    from dare.experiments.runs import Average


def _networks(name: str, help: str) -> Parameter:
    return Parameter(name=name, negative="", help=help)


def reproduce_figure3(
    root: Root,
    out: Path,
    /,
    *,
    model: Annotated[list[Path], _networks("--model", "A network; give one --model for each run of the recipe.")],
    embeddings: Annotated[
        list[Path] | None,
        _networks("--embeddings", "What `dare embed` wrote with each of them, in order, instead of running them."),
    ] = None,
    published: Annotated[bool, Parameter(help="Mark what the paper prints too.")] = True,
    seed: int = 817,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """The error of every stage and of the fusion: mean and standard deviation over runs.

    Parameters
    ----------
    out
        Folder for figure3.csv, figure3_runs.csv, figure3.png and figure3.svg.
    seed
        Of the bootstrap.
    """
    from dare.experiments.draw_figure3 import write_figure3
    from dare.experiments.figure3 import figure3

    figure = figure3(_evaluated(root, model, embeddings, layout, running), seed=seed)
    files = write_figure3(figure, out, published=published)
    table = Table("vector", "error", "mAP")
    for vector, average in zip(figure.runs.vectors, figure.averages, strict=True):
        table.add_row(vector, *_both(average))
    output.print(_runs(len(figure.runs)))
    output.print(table)
    output.print(MEANING)
    output.print(f"written: {', '.join(str(path) for path in files)}")


def reproduce_figure4(
    root: Root,
    out: Path,
    /,
    *,
    supervised: Annotated[list[Path], _networks("--with", "A network with deep supervision; one --with for each.")],
    unsupervised: Annotated[
        list[Path],
        _networks("--without", "A network trained with --set deep_supervision=false; one --without for each."),
    ],
    supervised_embeddings: Annotated[
        list[Path] | None,
        _networks("--with-embeddings", "What `dare embed` wrote with each of the networks of --with, in order."),
    ] = None,
    unsupervised_embeddings: Annotated[
        list[Path] | None,
        _networks("--without-embeddings", "What `dare embed` wrote with each of those of --without, in order."),
    ] = None,
    seed: int = 817,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """What deep supervision is worth: error and mAP of networks with it and without.

    Parameters
    ----------
    out
        Folder for figure4.csv, figure4_runs.csv, figure4.png and figure4.svg.
    seed
        Of the bootstrap.
    """
    from dare.experiments.draw_figure4 import write_figure4
    from dare.experiments.figure4 import figure4

    configs = [*_configs(supervised, True), *_configs(unsupervised, False)]
    figure = figure4(
        _evaluated(root, supervised, supervised_embeddings, layout, running),
        _evaluated(root, unsupervised, unsupervised_embeddings, layout, running),
        seed=seed,
    )
    files = write_figure4(figure, out)
    table = Table("vector", "", "with", "without", "gain [95 %]")
    for vector, one, other, gain in zip(figure.vectors, *figure.averages, figure.gains, strict=True):
        (error, precision), (error_without, precision_without) = _both(one, brief=True), _both(other, brief=True)
        table.add_row(vector, "error", error, error_without, str(gain.rank1))
        table.add_row("", "mAP", precision, precision_without, str(gain.mean_average_precision))
    output.print(f"{_runs(len(figure.groups[0]))} with deep supervision, {_runs(len(figure.groups[1]))} without")
    output.print(table)
    output.print(MEANING)
    if names := differing(configs):
        output.print(
            f"note: the networks differ in {', '.join(names)} too, so the gain is not of deep supervision alone"
        )
    output.print(f"written: {', '.join(str(path) for path in files)}")


MEANING = "in percent: mean ± standard deviation of the runs, [95 %, people resampled, not training]"


def _evaluated(
    root: Path, models: Sequence[Path], embeddings: Sequence[Path] | None, layout: str | None, running: Running | None
) -> "dict[str, Evaluation]":
    """Each network scored by itself, by its path."""
    if twice := next((path for place, path in enumerate(models) if path in models[:place]), None):
        raise ValueError(f"{twice} is given twice; give each run once")
    if embeddings and len(embeddings) != len(models):
        raise ValueError(
            f"expected embeddings of each network, in order, got {len(embeddings)} for {len(models)}; or leave them out"
        )
    stored: Sequence[Path | None] = embeddings or [None] * len(models)
    return {
        str(model): scored(root, [model], path, layout, running)[0] for model, path in zip(models, stored, strict=True)
    }


def _configs(paths: Sequence[Path], wanted: bool) -> "list[Mapping[str, Any]]":
    """How networks were trained, as far as they say; exported steps do not.

    Raises:
        ValueError: one says of itself that it was trained the other way.
    """
    from dare.models.checkpoints import load_checkpoint
    from dare.runners.exported import MANIFEST

    trained = [(path, load_checkpoint(path).training) for path in paths if not (path / MANIFEST).exists()]
    configs = [(path, training["config"]) for path, training in trained if "config" in training]
    for path, config in configs:
        if config.get("deep_supervision", wanted) != wanted:
            was, where = ("without", "--without") if wanted else ("with", "--with")
            raise ValueError(f"{path} was trained {was} deep supervision; give it as {where}")
    return [config for _, config in configs]


MAY_DIFFER = ("deep_supervision", "seed", "workers", "save_every", "log_every")


def differing(configs: "Sequence[Mapping[str, Any]]") -> list[str]:
    """The settings that are not the same in all networks, but for those that may."""
    names = dict.fromkeys(name for config in configs for name in config if name not in MAY_DIFFER)
    return [name for name in names if any(config.get(name) != configs[0].get(name) for config in configs)]


def _runs(count: int) -> str:
    return f"{count} run{'s' if count > 1 else ''}"


def _both(average: "Mapping[Measure, Average]", *, brief: bool = False) -> tuple[str, str]:
    """Error and mAP in percent; briefly the interval of a single run alone."""
    rank1, precision = average["rank-1"], average["mAP"]
    low, high = 1 - rank1.estimate.high, 1 - rank1.estimate.low
    bars = (
        (1 - rank1.mean, rank1.deviation, low, high),
        (precision.mean, precision.deviation, precision.estimate.low, precision.estimate.high),
    )
    several = len(rank1.values) > 1
    first, second = (
        f"{100 * mean:.1f}"
        + (f" ± {100 * deviation:.1f}" if several else "")
        + ("" if several and brief else f" [{100 * lower:.1f}, {100 * upper:.1f}]")
        for mean, deviation, lower, upper in bars
    )
    return first, second
