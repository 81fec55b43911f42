"""Vectors of samples at every exit, with the picture ids and labels that belong to their rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from dare.datasets.kinds import ARRAYS, VECTORS, kind_of, misplaced
from dare.files import replacing
from dare.retrieval.distances import Space, check_finite, check_space, entry_exit, entry_sizes

FORMAT = 1

T = TypeVar("T")

Pooling = Literal["mean", "max"]
"""How the vectors of a tracklet's images, or of the queries of a multi-query, become one."""

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Vectors of queries (Q, D), and of the gallery entries (G, D) that they are compared with."""


class EmbeddingsError(ValueError):
    """A file or array that is not usable as embeddings; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A network's vectors of N samples.

    Attributes:
        stages: one array (N, D) per tapped stage; sizes may differ.
        fused: (N, D), or None for a network without fusion.
        ids: N picture ids: paths below the benchmark's folder, with forward slashes.
        people, cameras: (N,), as published.
        model: digest of the checkpoint; "" where it is unknown.
        names: of the stages; by default "stage 1", "stage 2", ...
        crops: per picture, of which each vector is the mean.
        pooling: how the vectors of a tracklet's images became one, "mean" or "max"; "" where it is unknown.
        space: "shared" if vectors of all exits are compared with the last one's; "own" if with their own exit's.
        seen: whom the network was trained on, as `dare.datasets.seen` says; "" if nothing is known.
    """

    stages: tuple[NDArray[np.float32], ...]
    fused: NDArray[np.float32] | None
    ids: tuple[str, ...]
    people: NDArray[np.int64]
    cameras: NDArray[np.int64]
    model: str = ""
    names: tuple[str, ...] = ()
    crops: int = 1
    pooling: str = "mean"
    space: Space = "own"
    seen: str = ""

    def __post_init__(self) -> None:
        numbered = tuple(f"stage {number}" for number in range(1, len(self.stages) + 1))
        object.__setattr__(self, "names", tuple(self.names) or numbered)
        object.__setattr__(self, "stages", tuple(_floats(stage) for stage in self.stages))
        object.__setattr__(self, "fused", None if self.fused is None else _floats(self.fused))
        object.__setattr__(self, "ids", tuple(self.ids))
        object.__setattr__(self, "people", _whole_numbers(self.people, "people"))
        object.__setattr__(self, "cameras", _whole_numbers(self.cameras, "cameras"))
        if not self.stages and self.fused is None:
            raise EmbeddingsError("embeddings need at least one array of vectors, got none")
        for vectors in self.vectors():
            if vectors.ndim != 2 or len(vectors) != len(self.ids) or not vectors.shape[1]:
                raise EmbeddingsError(f"expected ({len(self.ids)}, D) vectors, one per id, got {vectors.shape}")
        if self.people.shape != (len(self.ids),) or self.cameras.shape != (len(self.ids),):
            raise EmbeddingsError(
                f"expected {len(self.ids)} people and cameras, one per id, "
                f"got shapes {self.people.shape} and {self.cameras.shape}"
            )
        if self.crops < 1:
            raise EmbeddingsError(f"expected at least 1 crop per image, got {self.crops}")
        if self.pooling not in ("", *get_args(Pooling)):
            raise EmbeddingsError(f"expected pooling 'mean' or 'max', or '' if unknown, got {self.pooling!r}")
        if len(self.names) != len(self.stages):
            raise EmbeddingsError(f"expected {len(self.stages)} stage names, got {', '.join(self.names)}")
        try:
            check_space(self.space, [vectors.shape[1] for vectors in self.vectors()])
        except ValueError as error:
            raise EmbeddingsError(str(error)) from error

    def __len__(self) -> int:
        return len(self.ids)

    def vectors(self) -> list[NDArray[np.float32]]:
        """(N, D) each: the stages, then the fused vectors if there are any; the last exit's come last."""
        return [*self.stages, *([] if self.fused is None else [self.fused])]

    def exits(self) -> list[NDArray[np.float32]]:
        """(N, D), one per exit: the stages, the last one replaced by the fused vectors if there are any."""
        return self._of_exits(self.vectors())

    def entries(self) -> list[NDArray[np.float32]]:
        """(N, D), what `Gallery.add` takes: one per exit, or in a shared space the last exit's only."""
        vectors = self.exits()
        return [vectors[exit] for exit in entry_sizes(self.space, [rows.shape[1] for rows in vectors])]

    def against(self, gallery: "Embeddings") -> list[Pair]:
        """For each of `vectors()`, (Q, D), the (G, D) it is compared with: of its exit, or of the last if shared."""
        entries = gallery.vectors()
        return [(q, entries[entry_exit(self.space, n, len(entries))]) for n, q in enumerate(self.vectors())]

    def exits_against(self, gallery: "Embeddings") -> list[Pair]:
        """As `against`, one per exit."""
        return self._of_exits(self.against(gallery))

    def _of_exits(self, of_vectors: list[T]) -> list[T]:
        """The exits' share of one value for each of `vectors()`."""
        return of_vectors if self.fused is None else [*of_vectors[:-2], of_vectors[-1]]

    def rows(self, positions: Sequence[int] | NDArray[np.integer]) -> "Embeddings":
        """The embeddings of some rows, in the order given."""
        chosen = np.asarray(positions, np.intp)
        return replace(
            self,
            stages=tuple(stage[chosen] for stage in self.stages),
            fused=None if self.fused is None else self.fused[chosen],
            ids=tuple(self.ids[row] for row in chosen),
            people=self.people[chosen],
            cameras=self.cameras[chosen],
        )

    def pooled(self, groups: Sequence[Sequence[int]], how: Pooling) -> "Embeddings":
        """One row per group of rows, with the id and the labels of the group's first row."""
        counts = [len(group) for group in groups]
        members = self.rows([row for group in groups for row in group])
        return replace(
            self.rows([group[0] for group in groups]),
            stages=tuple(pool(stage, counts, how) for stage in members.stages),
            fused=None if members.fused is None else pool(members.fused, counts, how),
        )

    def refuse_nan(self) -> None:
        """Raise ValueError if a vector has NaN, infinity or what overflows in it."""
        for vectors in self.vectors():
            check_finite(vectors, "the vector of", self.ids)

    def find(self, ids: Sequence[str]) -> "Embeddings":
        """The embeddings of these pictures, in their order.

        Rows whose ids are bare file names serve pictures in any folder, as long as the names are unique.

        Raises:
            EmbeddingsError: a picture has no embedding, or two rows have its name.
        """
        self.check_whole(ids, "embed these pictures too, with ids as in the data set's folder")
        return self.rows([row for row in self._positions(ids) if row is not None])

    def check_whole(self, ids: Sequence[str], advice: str) -> None:
        """Raise an EmbeddingsError, with this advice, if a picture has no embedding."""
        if missing := self.lacking(ids):
            more = f"and {len(missing) - 1} more of {len(ids)} pictures; there are embeddings of {len(self)}"
            raise EmbeddingsError(f"no embedding of {missing[0]} ({more}); {advice}")

    def lacking(self, ids: Sequence[str]) -> list[str]:
        """The pictures that have no embedding here."""
        return [id for id, row in zip(ids, self._positions(ids), strict=True) if row is None]

    def _positions(self, ids: Sequence[str]) -> list[int | None]:
        place: dict[str, int] = {}
        for row, id in enumerate(self.ids):
            if id in place:
                raise EmbeddingsError(f"two embeddings have one id: {id} (rows {place[id]} and {row}); remove one")
            place[id] = row
        if any("/" in id for id in self.ids):
            return [place.get(id) for id in ids]
        full: dict[str, str] = {}
        for id in ids:
            name = id.rpartition("/")[2]
            if full.setdefault(name, id) != id:
                raise EmbeddingsError(
                    f"the name {name} may mean {full[name]} or {id}; write ids as paths below the data set's folder"
                )
        return [place.get(id.rpartition("/")[2]) for id in ids]

    def save(self, path: str | Path) -> None:
        """Write an .npz file in one piece; docs/formats.md says what is in it."""
        arrays: dict[str, Any] = {f"stage_{n}": vectors for n, vectors in enumerate(self.stages, start=1)}
        if self.fused is not None:
            arrays["fused"] = self.fused
        if self.seen:
            arrays["seen"] = np.asarray(self.seen)
        with replacing(Path(path)) as file:
            np.savez(
                file,
                **arrays,
                ids=np.asarray(self.ids, dtype=np.str_),
                people=self.people,
                cameras=self.cameras,
                model=np.asarray(self.model),
                names=np.asarray(self.names, dtype=np.str_),
                crops=np.asarray(self.crops),
                pooling=np.asarray(self.pooling),
                space=np.asarray(self.space),
                format=np.asarray(FORMAT),
            )

    @classmethod
    def load(cls, path: str | Path) -> "Embeddings":
        """Read what `save` wrote, or vectors from elsewhere: arrays `vectors` (N, D) and `ids` (N,).

        Vectors from elsewhere without `people` and `cameras` get person and camera -1, and no `pooling`.

        Raises:
            EmbeddingsError: missing, damaged, or without these arrays.
        """
        arrays = read_arrays(Path(path))
        if "ids" not in arrays:
            raise EmbeddingsError(
                f"{path} has no array 'ids' (a picture id for each row); found {', '.join(arrays) or 'nothing'}"
            )
        if arrays["ids"].ndim != 1:
            raise EmbeddingsError(f"{path}: expected ids (N,), got shape {arrays['ids'].shape}")
        if str(arrays.get("format", FORMAT)) != str(FORMAT):
            raise EmbeddingsError(f"{path} has another format than this version reads; upgrade dare-reid")
        ids = tuple(id.decode() if isinstance(id, bytes) else str(id) for id in arrays["ids"])
        names = tuple(map(str, arrays.get("names", ())))
        stages = [arrays[f"stage_{n}"] for n in range(1, len(arrays) + 1) if f"stage_{n}" in arrays]
        fused = arrays.get("fused")
        if not stages and fused is None:
            if "vectors" not in arrays:
                raise EmbeddingsError(f"{path} has no array 'vectors' (N, D); found {', '.join(arrays) or 'nothing'}")
            stages, names = [arrays["vectors"]], ("vectors",)
        pooling = str(arrays.get("pooling", "" if "vectors" in arrays else "mean"))
        people, cameras = (arrays.get(name, np.full(len(ids), -1)) for name in ("people", "cameras"))
        said: dict[str, Any] = {name: str(arrays[name]) for name in ("model", "space", "seen") if name in arrays}
        try:
            crops = int(_whole_numbers(arrays.get("crops", 1), "crops"))
            return cls(tuple(stages), fused, ids, people, cameras, names=names, crops=crops, pooling=pooling, **said)
        except EmbeddingsError as error:
            raise EmbeddingsError(f"{path}: {error}") from error


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file; nothing in it is unpickled. Raises EmbeddingsError if it can't be read."""
    expected = "an .npz file of `vectors` and `ids`"
    if kind_of(path) not in (VECTORS, ARRAYS, None):
        raise EmbeddingsError(misplaced(path, expected))
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                raise EmbeddingsError(f"{path} holds one array, expected {expected}")
            return {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise EmbeddingsError(f"no embeddings at {path}") from None
    except EmbeddingsError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds; all mean that the file cannot be used
        damaged = f"{path} is not a readable .npz file of plain arrays, or it is damaged; write it again"
        raise EmbeddingsError(damaged) from error


def _whole_numbers(values: Any, what: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and (array % 1 == 0).all())  # MATLAB's are floats
    if not whole or (array.size and np.abs(array).max() >= 2**63):
        raise EmbeddingsError(f"expected {what} as whole numbers of 64 bits, got {array.dtype}")
    return array.astype(np.int64)


def _floats(vectors: Any) -> NDArray[Any]:
    """Float32 and float64 stay what they are."""
    array = np.asarray(vectors)
    if np.iscomplexobj(array):
        raise EmbeddingsError("expected vectors of real numbers, got complex ones")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def pool(vectors: NDArray[Any], counts: Sequence[int] | NDArray[np.integer], how: Pooling = "mean") -> NDArray[Any]:
    """One row for each run of rows, of the same type: (N, D) -> (M, D).

    Args:
        vectors: (N, D), as they are; nothing is scaled before or after.
        counts: (M,), how many rows each run has, in order; N in all.
        how: the mean, summed in float64, or the greatest value of each dimension.
    """
    refuse_unknown(how)
    lengths = np.asarray(counts, np.int64)
    if (lengths < 1).any() or lengths.sum() != len(vectors):
        raise ValueError(f"expected runs of at least 1 row, {len(vectors)} in all, got {lengths.tolist()}")
    if len(lengths) == len(vectors):
        return vectors
    starts = np.cumsum(lengths) - lengths
    if how == "max":
        return np.asarray(np.maximum.reduceat(vectors, starts))
    sums = np.add.reduceat(vectors, starts, dtype=np.float64)
    return np.asarray(sums / lengths[:, None], vectors.dtype)


def refuse_unknown(how: str) -> None:
    """Raise a ValueError unless this is a kind of pooling."""
    if how not in get_args(Pooling):
        raise ValueError(f"pooling must be 'mean' or 'max', got {how!r}")
