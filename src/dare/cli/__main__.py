"""`python -m dare.cli` is the `dare` command."""

from dare.cli import main

main()
