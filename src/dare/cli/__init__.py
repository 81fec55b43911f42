"""The `dare` command: parse, call one library function, print."""

import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError, UnknownOptionError, UnusedCliTokensError

from dare import __version__
from dare.cli.bench import bench
from dare.cli.calibration import calibrate
from dare.cli.care import gallery_app
from dare.cli.choice import choose_exits
from dare.cli.conversion import convert_app
from dare.cli.datasets import data_app
from dare.cli.evaluation import evaluate
from dare.cli.export import export
from dare.cli.galleries import forget, index
from dare.cli.models import models
from dare.cli.reproduce import reproduce
from dare.cli.search import search
from dare.cli.stream import stream
from dare.cli.terminal import console, message, one_line
from dare.cli.training import train
from dare.cli.vectors import embed
from dare.cli.verification import compare, threshold
from dare.training.monitor import TrainingStoppedError

OUT_OF_MEMORY = re.compile("out of memory|allocate memory")

EMBED_FIRST = "embed with it (dare embed), then give --embeddings"
EMBEDDED = ("dare evaluate", "dare threshold", "dare choose-exits")
"""Commands that take stored vectors."""

SUCCESSORS = {
    "--generated": "give --unlabelled",
    "--metric-dimensions": "write --metric kissme=200",
    "--rerank-k1": "write --rerank k1=20",
    "--rerank-k2": "write --rerank k2=6",
    "--rerank-weight": "write --rerank weight=0.3",
    "--rerank-variant": "write --rerank variant=zhong",
    "--no-rerank-junk": "write --rerank junk=false",
    "--crops": EMBED_FIRST,
    "--pooling": EMBED_FIRST,
    "--batch-size": EMBED_FIRST,
    "--prior": "give it to dare compare",
}
"""What to do instead of options that left, or that left some commands."""

app = App(
    name="dare",
    version=__version__,
    help="Budget-aware person re-identification: one network, an embedding after every stage.",
    help_format="markdown",
)
COMMANDS: tuple[Any, ...] = (
    *(data_app, models, train, embed, evaluate, index, search, stream, calibrate, threshold, compare, bench, export),
    *(convert_app, forget, gallery_app, choose_exits, reproduce),
)
for command in COMMANDS:
    app.command(command)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command; what a user can mend is one line on stderr and exit status 2.

    Args:
        words: the command line behind `dare`; the program's own by default.
    """
    # What is wrong with a picture is said by its name; Pillow's own words, which name none, would only come on top.
    for words_of_pillow in ("Image size .* exceeds limit", ".*[Cc]orrupt EXIF data", "Tag data larger than file"):
        warnings.filterwarnings("ignore", message=words_of_pillow)
    warnings.showwarning = lambda text, *_, **__: console.print(f"note: {one_line(text)}")
    try:
        app(_with_values(sys.argv[1:] if words is None else words), print_error=False, exit_on_error=False)
    except CycloptsError as error:
        console.print(f"dare: {_misread(error)}")
        sys.exit(2)
    except (ValueError, OSError, ImportError, TrainingStoppedError) as error:
        if os.environ.get("DARE_DEBUG"):
            raise
        console.print(f"dare: {message(error)}")
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        # torch has no kind of its own for what a CPU cannot hold.
        if os.environ.get("DARE_DEBUG") or not (isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error))):
            raise
        console.print(f"dare: not enough memory ({message(error)}); take smaller pictures, batches or networks")
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("dare: interrupted")
        sys.exit(130)


def _misread(error: CycloptsError) -> str:
    """What is wrong with the words of a command line, and what to do."""
    command = " ".join(("dare", *(error.command_chain or ())))
    text, advice = one_line(str(error)).rstrip("."), f"see {command} --help"
    if isinstance(error, UnknownOptionError) and (name := error.token.keyword):
        text = f"unknown option {name}"
        if name in SUCCESSORS and (SUCCESSORS[name] != EMBED_FIRST or command in EMBEDDED):
            advice = SUCCESSORS[name]
        elif command == "dare train":
            advice = f"settings without an option are given as --set NAME=VALUE; {advice}"
    if isinstance(error, UnusedCliTokensError):
        text = f"unexpected {one_line(' '.join(error.unused_tokens or ()))}"
    return f"{text[:1].lower()}{text[1:]}; {advice}"


def _with_values(words: Sequence[str]) -> list[str]:
    """Options that may stand alone get a value: `--json`, of commands that can print it, "-"; `--rerank` a default."""
    words = list(words)
    prints = words[:1] in (["search"], ["stream"], ["compare"], ["bench"], ["gallery"])
    for place in range(len(words) - 1, 0, -1):
        following = words[place + 1] if place + 1 < len(words) else ""
        if prints and words[place] == "--json" and following != "-" and not following.endswith(".json"):
            words.insert(place + 1, "-")
        if words[0] == "evaluate" and words[place] == "--rerank" and "=" not in following:
            words.insert(place + 1, "k1=20")
    return words
