"""`dare evaluate`."""

import sys
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from dare import __version__
from dare.cli import options
from dare.cli.terminal import check_outputs, console, mega, one_line, output, write_json
from dare.cli.vectors import SOURCE, Crops, SourceOptions, TrackletPooling
from dare.datasets import multi_query as asking_together
from dare.datasets import open_benchmark
from dare.files import said

if TYPE_CHECKING:
    from dare.evaluation.evaluate import Evaluation
    from dare.evaluation.learnt_distances import Learner
    from dare.pages.report import Look
    from dare.retrieval.reranking import Reranking


def evaluate(
    root: options.Root,
    /,
    *,
    source: SourceOptions = SOURCE,
    distance: Literal["euclidean", "cosine"] = "euclidean",
    metric: str | None = None,
    rule: Literal["official", "step"] = "official",
    multi_query: Annotated[bool, options.FLAG] = False,
    rerank: str | None = None,
    crops: Crops = 1,
    pooling: TrackletPooling = "mean",
    report: Path | None = None,
    embedding_maps: Annotated[bool, options.FLAG] = False,
    json: Annotated[Path | None, Parameter(help="JSON file to write the figures to.")] = None,
    per_query: Path | None = None,
) -> None:
    """Score every exit of a network on a data set's queries and gallery, or embeddings from elsewhere.

    Give --model, --embeddings, or both. The network may have been trained on another data set. Exit status 1 if no
    query has a valid match, or all pictures show one person.

    Parameters
    ----------
    distance
        euclidean, which DaRe is trained for, or cosine.
    metric
        Learn each exit's distance from the training pictures first: kissme or xqda. Embeddings must hold these
        pictures too. kissme=200 keeps 200 dimensions of PCA, xqda=200 at most 200.
    rule
        Of average precision: official (the code of Market-1501) or step (torchreid, fast-reid).
    multi_query
        Join all pictures of a person at a camera into one query, by the mean of their vectors: the hand-drawn boxes of
        Market-1501 (gt_bbox/), the queries of other data sets.
    rerank
        Re-rank by k-reciprocal neighbours (Zhong et al. 2017); needs all queries at once. --rerank alone means
        k1=20,k2=6,weight=0.3,variant=zhong,junk=true; give what differs. Variants: zhong, fourth-power (torchreid),
        fast-reid. junk=false leaves junk out of neighbourhoods, as both toolboxes do.
    report
        HTML file to write: accuracy and cost per exit, match curves, distances, ranked lists of a few probes and, with
        --model, where each stage looks on them.
    embedding_maps
        Add the vectors of a few people, laid out by t-SNE, to the report: about two seconds an exit.
    per_query
        CSV file to write: a line per query and exit, with the rank of its first match and its average precision.
    """
    from dare.evaluation.evaluate import evaluate as evaluate_embeddings
    from dare.evaluation.per_query import write_per_query

    check_outputs(report, json, per_query)
    if embedding_maps:
        _check_maps(report)
    reranking, learner = _reranking(rerank), _learner(metric)
    benchmark = open_benchmark(root, source.layout)
    asking = asking_together(benchmark) if multi_query else benchmark
    samples = (*asking.query, *asking.gallery, *(asking.train if learner else ()))
    vectors, costs, fusion, left_out = source.vectors(asking, samples, crops=crops, pooling=pooling)
    result = evaluate_embeddings(
        vectors,
        benchmark,
        distance=distance,
        rule=rule,
        multi_query="mean" if multi_query else None,
        metric=learner,
        rerank=reranking,
        costs=costs,
        fusion=fusion,
        skipped=left_out,
    )
    # Files come first: whoever reads the tables may stop reading (`| head`), which ends the command.
    write_json(json, {**result.figures(), "version": __version__})
    if per_query:
        write_per_query(per_query, result)
    if report:
        from dare.pages.report import write_report

        write_report(report, result, look=_look(source.model, source.engine), embedding_maps=embedding_maps)
    _show(result)
    if report:
        output.print(f"report: {report}")
    if reason := result.nothing_to_score:
        console.print(f"dare: {reason}")
        sys.exit(1)


def _check_maps(report: Path | None) -> None:
    from dare.pages.embedding_map import check_drawable

    if report is None:
        raise ValueError("--embedding-maps belongs to --report; say where to write it")
    check_drawable()


def _reranking(settings: str | None) -> "Reranking | None":
    """`k1=20,k2=6` as a `Reranking`; settings that aren't given keep their defaults."""
    if settings is None:
        return None
    from dare.retrieval.reranking import Reranking

    given = {name.strip(): value for name, _, value in (setting.partition("=") for setting in settings.split(","))}
    known = [field.name for field in fields(Reranking)]
    if unknown := sorted(given.keys() - set(known)):
        raise ValueError(f"--rerank has no setting {unknown[0]!r}; choose {', '.join(known)}")
    try:
        return TypeAdapter(Reranking).validate_python(given)
    except ValidationError as error:
        raise ValueError(said(error, "--rerank")) from error


def _learner(metric: str | None) -> "Learner | None":
    """`kissme`, or `kissme=200` for 200 dimensions."""
    if metric is None:
        return None
    from dare.retrieval.metrics import kissme, xqda

    name, sign, dimensions = metric.partition("=")
    known = {"kissme": kissme, "xqda": xqda}
    if name not in known or not (dimensions.isdecimal() and int(dimensions) if sign else True):
        raise ValueError(f"expected --metric {' or '.join(known)}, or kissme=200 for 200 dimensions, got {metric!r}")
    return partial(known[name], dimensions=int(dimensions) if sign else None)


def _look(model: Sequence[Path] | None, engine: options.Engine) -> "Look | None":
    """What gives pictures' activation maps; None without a network of torch."""
    from dare.runners.exported import EXPORTED
    from dare.runners.opening import engines_of

    if model is None or engines_of(model, engine.runner, engine.device, engine.precision) & set(EXPORTED):
        return None
    from dare.models.activation_maps import maps_of_picture
    from dare.models.checkpoints import load_checkpoint

    return partial(maps_of_picture, [load_checkpoint(path) for path in model])


def _show(result: "Evaluation") -> None:
    from dare.evaluation.evaluate import percent

    output.print(f"{result.benchmark.name}: {len(result.query)} queries, {len(result.gallery)} gallery entries")
    output.print(result.settings)
    ranks = (1, 10) if result.one_space else (1, 5, 10)  # both ways of comparing have to fit into 80 columns
    own = ["own\nrank-1", "own\nmAP"] if result.one_space else []
    table = Table("exit", *(f"rank-{rank}" for rank in ranks), "mAP", "mINP", *own, "multiply-adds")
    for stage in result.results:
        scores, beside = stage.scores, stage.own_gallery
        figures = [*(scores.cmc(rank) for rank in ranks), scores.mean_average_precision]
        figures.append(scores.mean_inverse_negative_penalty)
        figures += [beside.cmc(1), beside.mean_average_precision] if beside else []
        macs = "unknown" if stage.macs is None else mega(stage.macs)
        table.add_row(stage.name if stage.is_exit else f"({stage.name})", *map(percent, figures), macs)
    output.print(table)
    output.print("in percent; (in brackets: not an exit of its own)")
    if result.one_space:
        output.print("own: against gallery vectors of the same exit, which a gallery of this network doesn't keep")
    if result.fused:
        output.print(f"fusion: {result.fused}")
    if result.costs:
        output.print(f"multiply-adds: {result.costs.source}")
    for note in result.notes:
        output.print(f"note: {one_line(note)}")
