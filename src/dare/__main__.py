"""The `dare` command, also as `python -m dare`: ready for Ctrl-C before anything slow is imported."""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command."""
    before = signal.signal(signal.SIGINT, _leave)
    from dare.cli import main as run

    signal.signal(signal.SIGINT, before)
    run()


def _leave(signal_number: int, frame: FrameType | None) -> None:
    """While modules are imported there is nothing to clean up, and Python would print where it was."""
    os.write(2, b"dare: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
