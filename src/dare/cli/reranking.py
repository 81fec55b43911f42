"""Options of re-ranking."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from dare.retrieval.reranking import Reranking


@dataclass(frozen=True, slots=True)
class Rerank:
    """Whether and how distances are re-ranked; `dare.Reranking` says what each setting does, and None keeps its own."""

    rerank: Annotated[
        bool,
        Parameter(
            negative="",
            help="Re-rank by k-reciprocal neighbours (Zhong et al. 2017), each embedding by itself. It needs all "
            "queries at once.",
        ),
    ] = False
    rerank_k1: Annotated[
        int | None, Parameter(help="Nearest neighbours that have to name each other; 20 if not given.")
    ] = None
    rerank_k2: Annotated[
        int | None, Parameter(help="Neighbours over which encodings are averaged; 6 if not given.")
    ] = None
    rerank_weight: Annotated[
        float | None, Parameter(help="Of the original distance, from 0 to 1; lambda in the paper; 0.3 if not given.")
    ] = None
    rerank_variant: Annotated[
        Literal["zhong", "fourth-power", "fast-reid"] | None,
        Parameter(
            help="Whose formulas: zhong (the authors', if not given), fourth-power (torchreid, layumi), fast-reid."
        ),
    ] = None
    rerank_junk: Annotated[
        bool | None,
        Parameter(
            help="Junk entries take part in neighbourhoods (as in the authors' code, and if not given), or do not (as "
            "in torchreid and fast-reid)."
        ),
    ] = None

    def settings(self) -> "Reranking | None":
        """The settings of a re-ranking; None if none is asked for."""
        from dare.retrieval.reranking import Reranking

        given = {
            name.removeprefix("rerank_"): value
            for name, value in asdict(self).items()
            if name != "rerank" and value is not None
        }
        if given and not self.rerank:
            raise ValueError(f"--rerank-{next(iter(given))} belongs to --rerank; add it")
        return Reranking(**given) if self.rerank else None


RerankOptions = Annotated[Rerank | None, Parameter(name="*")]
