"""`dare convert`: files of the code that was released with the paper."""

from pathlib import Path
from typing import Literal

from cyclopts import App

from dare.cli.options import Layout, Root, Splits
from dare.cli.terminal import check_outputs, mega, output
from dare.datasets import open_benchmark
from dare.retrieval.embeddings import Embeddings

convert_app = App(name="convert", help="Convert files of the code released with the paper: weights, .mat features.")


@convert_app.command
def weights(released: Path, out: Path, /, *, backbone: Literal["resnet50", "densenet201"]) -> None:
    """Turn a checkpoint saved by the released code into a model.

    It is read as data: no code in it runs. Every command that runs or trains a network takes the result.

    Parameters
    ----------
    released
        The released file, such as checkpoint.pth.tar.
    out
        Folder for model.safetensors; it must not hold one yet.
    backbone
        resnet50 for DaRe(R), densenet201 for DaRe(De).
    """
    from dare.models.checkpoints import MODEL_FILE, save_checkpoint
    from dare.models.released import released_checkpoint

    file = out / MODEL_FILE
    if out.is_file():
        raise NotADirectoryError(f"expected a folder for {MODEL_FILE}, {out} is a file; give the name of a new folder")
    if file.exists():
        raise FileExistsError(f"{out} holds a model already; choose another folder")
    check_outputs(file)
    checkpoint = released_checkpoint(released, backbone)
    save_checkpoint(file, checkpoint)
    built = checkpoint.architecture
    output.print(f"{backbone} with heads of {built.hidden_dim} units and vectors of {built.embedding_dim}, in {file}")
    costs = ", ".join(map(mega, checkpoint.costs.macs))
    output.print(f"multiply-adds per exit: {costs}; {checkpoint.costs.source}")


@convert_app.command
def to_mat(root: Root, embeddings: Path, out: Path, /, *, split: Splits = None, layout: Layout = None) -> None:
    """Write embeddings as the .mat files of the released code, for the official evaluation in Matlab.

    Parameters
    ----------
    embeddings
        What `dare embed` wrote, of the data set's pictures.
    out
        Folder to make, for query_features_1.mat and so on.
    """
    from dare.retrieval.mat_features import FUSION, file_name, write_mat_features

    check_outputs(out / file_name("query", FUSION))
    benchmark = open_benchmark(root, layout)
    write_mat_features(out, Embeddings.load(embeddings), benchmark, split or ("query", "gallery"))
    output.print(f"{', '.join(sorted(path.name for path in out.iterdir()))} in {out}")


@convert_app.command
def from_mat(
    root: Root, features: Path, out: Path, /, *, split: Splits = None, stages: int = 4, layout: Layout = None
) -> None:
    """Write the .mat files of the released code as embeddings, which `dare evaluate` takes.

    They hold neither names nor labels: both come from the data set, which must hold the pictures they were made from.

    Parameters
    ----------
    features
        Folder with query_features_1.mat and so on.
    out
        .npz file to write.
    stages
        Stages of the network that are tapped. Of four, the last one's file may be missing.
    """
    from dare.retrieval.mat_features import read_mat_features

    check_outputs(out)
    benchmark = open_benchmark(root, layout)
    vectors = read_mat_features(features, benchmark, split or ("query", "gallery"), stages=stages)
    vectors.save(out)
    output.print(f"{len(vectors)} pictures, {len(vectors.exits())} exits, in {out}")
