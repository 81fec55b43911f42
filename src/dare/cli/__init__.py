"""The `dare` command: parse, call one library function, print."""

import os
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App

from dare import __version__
from dare.cli.datasets import data_app
from dare.cli.embedding import embed
from dare.cli.evaluation import evaluate
from dare.cli.terminal import console, message
from dare.cli.training import train
from dare.training.alarm import TrainingStoppedError

app = App(
    name="dare",
    version=__version__,
    help="Budget-aware person re-identification: one network, an embedding after every stage.",
    help_format="markdown",
)
app.command(data_app)
app.command(train)
app.command(embed)
app.command(evaluate)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command; what a user can mend is one line on stderr and exit status 2.

    Args:
        words: the command line behind `dare`; the program's own by default.
    """
    # Pictures of so many pixels are refused by name; Pillow's own words about them would only come on top.
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    try:
        app(sys.argv[1:] if words is None else words)
    except (ValueError, OSError, ImportError, TrainingStoppedError) as error:
        if os.environ.get("DARE_DEBUG"):
            raise
        console.print(f"dare: {message(error)}")
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("dare: interrupted")
        sys.exit(130)
