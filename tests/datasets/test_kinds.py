"""What a path is, and that every reader says so when it is given the wrong one."""

import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import save_picture

from dare import open_benchmark, open_gallery, open_runner
from dare.anytime.records import load_plan
from dare.datasets.kinds import kind_of
from dare.images.reading import read
from dare.models.backbones import build_backbone
from dare.models.checkpoints import load_checkpoint
from dare.models.released import load_released
from dare.retrieval.embeddings import Embeddings
from dare.verification.verifier import load_verifier

READERS: dict[str, Callable[[Path], object]] = {
    "a picture": read,
    "a folder of pictures or a .csv file": open_benchmark,
    "a network": open_runner,
    "a checkpoint of dare": load_checkpoint,
    "a file of weights": lambda path: build_backbone("resnet18", path),
    "a released checkpoint": lambda path: load_released(path, "resnet50"),
    "a gallery": open_gallery,
    "vectors": Embeddings.load,
    "a plan": lambda path: load_plan(path, 4),
    "thresholds": lambda path: load_verifier(path, "digest"),
}


def zipped(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"")


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


def a_safetensors_file(path: Path) -> None:
    import safetensors.numpy

    safetensors.numpy.save_file({"weight": np.zeros(3, np.float32)}, path)


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "pipe.pth": ("a pipe", os.mkfifo),
    "socket.safetensors": ("a socket", a_socket),
    "empty.pth": ("an empty file", lambda path: path.write_bytes(b"")),
    "page.pth": ("an HTML page", lambda path: path.write_text("\n<!DOCTYPE html><html>\x1b[31mDrive</html>")),
    "page.xml": ("an HTML page", lambda path: path.write_text("<html></html>")),
    "page.jpg": ("an HTML page", lambda path: path.write_text("<HTML></HTML>")),
    "pointer.onnx": (
        "a Git LFS pointer",
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    ),
    "script.pt": ("a TorchScript archive", lambda path: zipped(path, "m/data.pkl", "m/constants.pkl", "m/code/m.py")),
    "weights.pth": ("a file of weights that PyTorch saved", lambda path: zipped(path, "m/data.pkl", "m/data/0")),
    "old.pth": ("a file of weights that PyTorch saved", lambda path: path.write_bytes(b"\x80\x02nothing")),
    "weights.safetensors": ("a safetensors file of weights", a_safetensors_file),
    "array.npy": ("a NumPy file", lambda path: np.save(path, np.zeros(3))),
    "vectors.npz": ("an .npz file of vectors", lambda path: np.savez(path, vectors=np.zeros((1, 3)), ids=["a"])),
    "network.onnx": ("an ONNX network", lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch")),
    "network.xml": ("an OpenVINO network", lambda path: path.write_text('<?xml version="1.0"?>\n<net name="n">')),
    "boxes.xml": ("an XML file that holds no OpenVINO network", lambda path: path.write_text("<?xml?><annotation>")),
    "clip.mp4": ("a video", lambda path: path.write_bytes(b"\0\0\0\x18ftypisom")),
    "clip.avi": ("a video", lambda path: path.write_bytes(b"RIFF\0\0\0\0AVI LIST")),
    "clip.jpg": ("a video", lambda path: path.write_bytes(b"\x1aE\xdf\xa3webm")),
    "clip.ts": ("a video", lambda path: path.write_bytes(b"G@\0\x10")),
    "archive.zip": ("an archive", lambda path: zipped(path, "a.jpg")),
    "archive.tar.gz": ("an archive", lambda path: path.write_bytes(b"\x1f\x8b\x08\0")),
    "list.csv": ("a CSV file", lambda path: path.write_text("image,person\n")),
    "times.json": ("a JSON file", lambda path: path.write_text("{}")),
    "picture.png": ("a picture", save_picture),
}

TAKES = {
    "empty.pth": {"a picture"},
    "picture.png": {"a picture"},
    "list.csv": {"a folder of pictures or a .csv file"},
    "network.onnx": {"a network"},
    "network.xml": {"a network"},
    "vectors.npz": {"vectors"},
    "array.npy": {"vectors"},  # which says itself what such a file lacks
    "weights.pth": {"a file of weights", "a released checkpoint"},
    "old.pth": {"a file of weights", "a released checkpoint"},
    "weights.safetensors": {"a file of weights"},
    "times.json": {"a plan", "thresholds"},
}
"""Who has more to say of a file than what it is."""


@pytest.mark.parametrize("name", FILES)
def test_every_reader_says_what_a_file_is_in_one_line(name: str, tmp_path: Path) -> None:
    what, make = FILES[name]
    path = tmp_path / name
    make(path)
    kind = kind_of(path)
    assert kind is not None
    assert kind.name == what
    for expected, reader in READERS.items():
        if expected in TAKES.get(name, ()):
            continue
        with pytest.raises((ValueError, OSError)) as caught:
            reader(path)
        said = str(caught.value)
        # A picture's error begins with its path and a colon.
        assert f"{path} is {what}, expected" in said or f"{path}: {what}, expected a picture" in said, expected
        assert said.endswith(kind.advice)
        assert "\n" not in said
        assert "\x1b" not in said
        assert "weights_only" not in said


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("rtsp://camera/stream", "the address of a video stream"),
        ("RTSPS://camera", "the address of a video stream"),
        ("https://example.org/model.pth", "an address"),
        ("s3://bucket/gallery", "an address"),
    ],
)
def test_addresses_are_named_and_nothing_is_fetched(address: str, what: str) -> None:
    for expected, reader in READERS.items():
        with pytest.raises((ValueError, OSError), match=f"{what}, expected"):
            reader(Path(address))
        assert expected


@pytest.mark.parametrize(
    ("inside", "what"),
    [
        ("gallery.json", "a gallery"),
        ("manifest.json", "an export"),
        ("model.safetensors", "the folder of a training"),
        ("shipped.json", "the folder of a shipped network"),
    ],
)
def test_folders_of_ours_are_named(inside: str, what: str, tmp_path: Path) -> None:
    (tmp_path / inside).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=f"is {what}, expected a data set; "):
        open_benchmark(tmp_path)
    if what != "a gallery":
        with pytest.raises(ValueError, match=f"is {what}, expected a gallery; it is given as --model"):
            open_gallery(tmp_path)


def test_what_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path / "none.mp4", tmp_path, tmp_path / "text"):
        assert kind_of(path) is None


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such devices here")
def test_a_device_is_refused_before_it_is_read() -> None:
    for reader in READERS.values():
        with pytest.raises((ValueError, OSError), match=r"/dev/zero(: | is )a device, expected"):
            reader(Path("/dev/zero"))
