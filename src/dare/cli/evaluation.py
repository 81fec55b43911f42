"""`dare evaluate`."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from pydantic import BaseModel, ValidationError
from rich.table import Table

from dare import __version__
from dare.cli.options import Layout, Models, MultiQuery, Root, Running, RunningOptions
from dare.cli.scored import vectors_of
from dare.cli.terminal import console, one_line, output, write_json
from dare.files import check_writable, said

if TYPE_CHECKING:
    from dare.datasets import Benchmark, Sample
    from dare.evaluation.evaluate import Evaluation
    from dare.evaluation.learnt_distances import Learner
    from dare.pages.report import Look
    from dare.retrieval.reranking import Reranking


def evaluate(
    root: Root,
    /,
    *,
    model: Models | None = None,
    embeddings: Path | None = None,
    distance: Literal["euclidean", "cosine"] = "euclidean",
    metric: Literal["kissme", "xqda"] | None = None,
    metric_dimensions: int | None = None,
    rule: Literal["official", "step"] = "official",
    multi_query: MultiQuery = False,
    query_pooling: Literal["mean", "max"] | None = None,
    rerank: str | None = None,
    report: Path | None = None,
    false_match_rate: float | None = None,
    embedding_maps: Annotated[bool, Parameter(negative="")] = False,
    json: Path | None = None,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """Score every exit of a network on a data set's queries and gallery, or embeddings from elsewhere.

    The network may have been trained on another data set. Exit status 1 if no query has a valid match,
    or all pictures show one person.

    Parameters
    ----------
    embeddings
        An .npz file instead of a model: what `dare embed` wrote, or arrays `vectors` (N, D) and `ids`
        (picture file names).
    distance
        Euclidean, which DaRe is trained for, or cosine.
    metric
        Learn each exit's distance from the training pictures first; embeddings must hold these too. With cosine,
        vectors are first scaled to length 1.
    metric_dimensions
        KISSME: dimensions that PCA keeps; XQDA: dimensions at most.
    rule
        Of average precision: official (the code of Market-1501) or step (torchreid, fast-reid).
    query_pooling
        How --multi-query joins vectors: mean (the default), or max of each dimension.
    rerank
        Re-rank by k-reciprocal neighbours (Zhong et al. 2017); needs all queries at once. Alone it uses
        k1=20,k2=6,weight=0.3,variant=zhong,junk=true; give those that differ. Variants: zhong, fourth-power
        (torchreid), fast-reid; junk=false leaves junk out of neighbourhoods, as both toolboxes do.
    report
        HTML file to write: accuracy and cost per exit, match curves, distances, ranked lists of a few probes, and with
        --model where each stage looks on them.
    false_match_rate
        Where the report marks distances: the share of pairs of different people below the mark; 0.001 if not given.
    embedding_maps
        Add the vectors of a few people, laid out by t-SNE, to the report; about two seconds an exit.
    json
        JSON file to write the figures to.
    """
    from dare.evaluation.evaluate import evaluate as evaluate_embeddings

    if (model is None) == (embeddings is None):
        raise ValueError("give either --model or --embeddings")
    if query_pooling is not None and not multi_query:
        raise ValueError("--query-pooling belongs to --multi-query; give that too, or leave it out")
    _check_files(report, json, false_match_rate, embedding_maps=embedding_maps)
    running, reranking, learner = running or Running(), _reranking(rerank), _learner(metric, metric_dimensions)
    benchmark, samples = _pictures(root, layout, multi_query=multi_query, training=learner is not None)
    runner = None if model is None else running.open(model)
    vectors, costs, left_out = vectors_of(benchmark, samples, runner, embeddings, running)
    result = evaluate_embeddings(
        vectors,
        benchmark,
        distance=distance,
        rule=rule,
        multi_query=(query_pooling or "mean") if multi_query else None,
        metric=learner,
        rerank=reranking,
        costs=costs,
        skipped=left_out,
    )
    # Files come first: whoever reads the tables may stop reading (`| head`), which ends the command.
    if json:
        write_json(json, {**result.figures(), "version": __version__})
    if report:
        from dare.pages.report import write_report

        rate = 0.001 if false_match_rate is None else false_match_rate
        look = _look(model, running)
        write_report(report, result, look=look, false_match_rate=rate, embedding_maps=embedding_maps)
    _show(result)
    if report:
        output.print(f"report: {report}")
    if reason := result.nothing_to_score:
        console.print(f"dare: {reason}")
        sys.exit(1)


def _pictures(
    root: Path, layout: str | None, *, multi_query: bool, training: bool
) -> "tuple[Benchmark, tuple[Sample, ...]]":
    """The data set, and the samples of it that need vectors."""
    from dare.datasets import multi_query as asking_together
    from dare.datasets import open_benchmark

    benchmark = open_benchmark(root, layout)
    if multi_query:
        benchmark = asking_together(benchmark)
    return benchmark, (*benchmark.query, *benchmark.gallery, *(benchmark.train if training else ()))


def _reranking(settings: str | None) -> "Reranking | None":
    """`k1=20,k2=6` as a `Reranking`; settings that aren't given keep their defaults."""
    if settings is None:
        return None
    from dare.retrieval.reranking import Reranking

    class Options(BaseModel, extra="forbid"):
        rerank: Reranking

    given = {name: value for name, _, value in (setting.partition("=") for setting in settings.split(","))}
    try:
        return Options.model_validate({"rerank": given}).rerank
    except ValidationError as error:
        raise ValueError(said(error, "dare evaluate")) from error


def _check_files(report: Path | None, json: Path | None, rate: float | None, *, embedding_maps: bool) -> None:
    """Refuse, before any work, what could not be written in the end."""
    if rate is not None:
        from dare.verification.rates import check_rate

        if report is None:
            raise ValueError("--false-match-rate belongs to --report; say where to write it")
        check_rate(rate)
    if embedding_maps:
        if report is None:
            raise ValueError("--embedding-maps belongs to --report; say where to write it")
        from dare.pages.embedding_map import check_drawable

        check_drawable()
    for path in (report, json):
        if path is not None:
            check_writable(path)


def _learner(metric: str | None, dimensions: int | None) -> "Learner | None":
    if metric is None:
        if dimensions is not None:
            raise ValueError("--metric-dimensions belongs to --metric")
        return None
    from dare.retrieval.metrics import kissme, xqda

    return partial({"kissme": kissme, "xqda": xqda}[metric], dimensions=dimensions)


def _look(model: "Sequence[Path] | None", running: Running) -> "Look | None":
    """What gives pictures' activation maps; None without a network of torch."""
    from dare.runners.exported import EXPORTED
    from dare.runners.opening import engines_of

    if model is None or engines_of(model, running.runner, running.device, running.precision) & set(EXPORTED):
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
        macs = "unknown" if stage.macs is None else f"{stage.macs / 1e6:,.1f} M"
        name = stage.name if stage.is_exit else f"({stage.name})"
        table.add_row(name, *map(percent, figures), macs)
    output.print(table)
    output.print("in percent; (in brackets: no exit of its own)")
    if result.one_space:
        output.print("own: against gallery vectors of the same exit, which a gallery of this network does not keep")
    if result.costs:
        output.print(f"multiply-adds: {result.costs.source}")
    for note in result.notes:
        output.print(f"note: {one_line(note)}")
