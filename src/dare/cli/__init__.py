"""The `dare` command: parse, call one library function, print."""

import os
import re
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App

from dare import __version__
from dare.cli.bench import bench
from dare.cli.calibration import calibrate
from dare.cli.choice import choose_exits
from dare.cli.conversion import convert_app
from dare.cli.datasets import data_app
from dare.cli.embedding import embed
from dare.cli.evaluation import evaluate
from dare.cli.export import export
from dare.cli.galleries import forget, index
from dare.cli.models import models
from dare.cli.reproduce import reproduce
from dare.cli.search import search
from dare.cli.stream import stream
from dare.cli.terminal import console, message, one_line
from dare.cli.training import train
from dare.cli.verification import compare, threshold
from dare.training.monitor import TrainingStoppedError

OUT_OF_MEMORY = re.compile("out of memory|allocate memory")

app = App(
    name="dare",
    version=__version__,
    help="Budget-aware person re-identification: one network, an embedding after every stage.",
    help_format="markdown",
)
app.command(data_app)
app.command(models)
app.command(train)
app.command(embed)
app.command(evaluate)
app.command(index)
app.command(search)
app.command(stream)
app.command(calibrate)
app.command(threshold)
app.command(compare)
app.command(bench)
app.command(export)
app.command(convert_app)
app.command(forget)
app.command(choose_exits)
app.command(reproduce)


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
        app(_with_values(sys.argv[1:] if words is None else words))
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


def _with_values(words: Sequence[str]) -> list[str]:
    """Options that may stand alone get a value: `--json`, of commands that can print it, "-"; `--rerank` a default."""
    words = list(words)
    prints = words[:1] in (["search"], ["stream"], ["compare"], ["bench"])
    for place in range(len(words) - 1, 0, -1):
        following = words[place + 1] if place + 1 < len(words) else ""
        if prints and words[place] == "--json" and following != "-" and not following.endswith(".json"):
            words.insert(place + 1, "-")
        if words[0] == "evaluate" and words[place] == "--rerank" and "=" not in following:
            words.insert(place + 1, "k1=20")
    return words
