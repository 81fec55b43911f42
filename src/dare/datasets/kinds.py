"""What a path is, whatever it was given as: told by its first bytes, else by its name, and which command takes it.

Readers ask here when a file isn't what they read, so that every command says the same of it.
"""

import re
import stat
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 10_000_000
"""Of a picture; a larger file isn't read."""

HEAD = 1024
"""Bytes that are looked at."""

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[/\\]")
STREAMS = re.compile(r"(?:rtsp|rtsps|rtmp|rtp|udp|srt|mms):", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file or folder is.

    Attributes:
        name: with its article.
        advice: what to do with it.
    """

    name: str
    advice: str


STILLS = "no command reads video; save the people in its frames as pictures"
EXPORT_IT = "export the network as ONNX and give that as --model"

STREAM = Kind("the address of a video stream", STILLS)
ADDRESS = Kind("an address", "nothing is downloaded; give a file or folder on this machine")
PIPE = Kind("a pipe", "give a regular file")
SOCKET = Kind("a socket", "give a regular file")
DEVICE = Kind("a device", "give a regular file")
EMPTY = Kind("an empty file", "take another copy")
PAGE = Kind("an HTML page", "download the file itself")
POINTER = Kind("a Git LFS pointer", "fetch the file itself with git lfs pull")
VECTORS = Kind("an .npz file of vectors", "dare evaluate, threshold and choose-exits take it as --embeddings")
ARRAYS = Kind("a NumPy file", "vectors are given as --embeddings, an .npz file of `vectors` and `ids`")
MATLAB = Kind("a Matlab file", "dare convert from-mat takes a folder of the released code's features")
OWN = Kind("a checkpoint of dare", "it is given as --model, or to dare train as --init")
WEIGHTS = Kind("a safetensors file of weights", "dare train takes it as --weights")
PICKLED = Kind(
    "a file of weights that PyTorch saved",
    "dare train takes it as --weights, and dare convert weights one of the released code",
)
SCRIPT = Kind("a TorchScript archive", "a program is never run; save the network's state_dict(), or export it as ONNX")
ONNX = Kind("an ONNX network", "it is given as --model")
OPENVINO = Kind("an OpenVINO network", "it is given as --model")
OPENVINO_WEIGHTS = Kind("the weights of an OpenVINO network", "give the .xml file beside it as --model")
XML = Kind("an XML file that holds no OpenVINO network", "give the .xml that OpenVINO saved, with its .bin beside it")
PICTURE = Kind("a picture", "dare search and dare compare take single pictures, other commands their folder")
LIST = Kind("a CSV file", "a list of pictures is given in the place of a data set's folder")
RECORD = Kind("a JSON file", "times are given as --times, plans as --plan, thresholds as --thresholds")
ARCHIVE = Kind("an archive", "unpack it")
VIDEO = Kind("a video", STILLS)
GALLERY = Kind("a gallery", "dare search, dare stream and dare index take it")
EXPORTED = Kind("an export", "it is given as --model")
RUN = Kind("the folder of a training", "it is given as --model")
SHIPPED = Kind("the folder of a shipped network", "it is given as --model")

FOLDERS = {"gallery.json": GALLERY, "shipped.json": SHIPPED, "manifest.json": EXPORTED, "model.safetensors": RUN}
"""A file in a folder -> what the folder is."""

BEGINNINGS = {
    b"version https://git-lfs": POINTER,
    b"\x93NUMPY": ARRAYS,
    b"MATLAB 5.0": MATLAB,
    b"\xff\xd8\xff": PICTURE,
    b"\x89PNG": PICTURE,
    b"GIF8": PICTURE,
    b"\x1aE\xdf\xa3": VIDEO,  # Matroska, WebM
    b"\x00\x00\x01\xba": VIDEO,  # MPEG
    b"\x00\x00\x01\xb3": VIDEO,
    b"FLV\x01": VIDEO,
    b"0&\xb2u\x8ef\xcf\x11": VIDEO,  # ASF, WMV
    b"\x1f\x8b": ARCHIVE,
    b"BZh": ARCHIVE,
    b"\xfd7zXZ": ARCHIVE,
    b"7z\xbc\xaf": ARCHIVE,
    b"Rar!": ARCHIVE,
    b"\x89HDF": Kind("an HDF5 file, as Keras and Matlab save", EXPORT_IT),
    b"\x80": PICKLED,  # in zips since torch 1.6, plain pickles before
}

PAGES = dict.fromkeys((b"<!doctype html", b"<html", b"<head", b"<body"), PAGE)
LATER = {b"ftyp": VIDEO}
RIFF = {b"AVI ": VIDEO, b"WEBP": PICTURE}
"""As `BEGINNINGS`: in lower case, behind four bytes, behind eight."""

SUFFIXES = {
    ".onnx": ONNX,
    ".csv": LIST,
    ".json": RECORD,
    ".mat": MATLAB,
    ".tflite": Kind("a TensorFlow Lite network", EXPORT_IT),
    ".pb": Kind("a TensorFlow graph", EXPORT_IT),
    ".engine": Kind("a TensorRT engine", EXPORT_IT),
    ".caffemodel": Kind("a Caffe network", EXPORT_IT),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv"), VIDEO),
    **dict.fromkeys((".3gp", ".ts", ".mts", ".m2ts", ".h264", ".h265", ".dav"), VIDEO),
}


def kind_of(path: str | Path) -> Kind | None:
    """What a path is; None for nothing, a folder of no kind of ours, and what isn't recognised. Never blocks."""
    path = Path(path)
    if STREAMS.match(str(path)):
        return STREAM
    if URL.match(str(path)) and not path.exists():  # a Path makes s3:/x of s3://x
        return ADDRESS
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return next((kind for name, kind in FOLDERS.items() if (path / name).is_file()), None)
        if not stat.S_ISREG(mode):
            return PIPE if stat.S_ISFIFO(mode) else SOCKET if stat.S_ISSOCK(mode) else DEVICE
        with path.open("rb") as file:
            head = file.read(HEAD)
    except (OSError, ValueError):
        return None
    return _by_content(path, head) or _by_name(path)


def misplaced(path: str | Path, expected: str) -> str | None:
    """What to say of a path that isn't what was expected; None where nothing is known of it.

    Args:
        expected: with its article.
    """
    kind = kind_of(path)
    return None if kind is None else f"{path} is {kind.name}, expected {expected}; {kind.advice}"


def _by_content(path: Path, head: bytes) -> Kind | None:
    if not head:
        return EMPTY
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<?xml", b"<net")):
        return OPENVINO if b"<net" in text else XML
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if head[8:9] == b"{" and struct.unpack_from("<Q", head)[0] <= path.stat().st_size:
        return OWN if b'"__metadata__":{"dare"' in head else WEIGHTS
    parts = ((text, PAGES), (head, BEGINNINGS), (head[4:], LATER), (head[8:], RIFF if head[:4] == b"RIFF" else {}))
    return next((kind for part, marks in parts for mark, kind in marks.items() if part.startswith(mark)), None)


def _zip(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return SCRIPT
    if any(name.endswith("/data.pkl") for name in names):
        return PICKLED
    if names and all(name.endswith(".npy") for name in names):
        return VECTORS if "ids.npy" in names else ARRAYS
    return ARCHIVE


def _by_name(path: Path) -> Kind | None:
    if path.suffix.lower() == ".bin" and path.with_suffix(".xml").is_file():
        return OPENVINO_WEIGHTS
    return SUFFIXES.get(path.suffix.lower())
