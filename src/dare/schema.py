"""Files with a schema: what is wrong with one, in a line that names the file, the place and what was expected."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

LONGEST = 80
"""Characters of a value that are shown."""


def said(error: ValidationError, file: str | Path) -> str:
    """The first thing that a pydantic model refused: `FILE: PLACE: expected ..., got ...`.

    What a model's own validators raise is said in their words.
    """
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    where = f"{file}: {place}" if place else str(file)
    if first["type"] == "missing":
        parent = ".".join(str(part) for part in first["loc"][:-1])
        return f"{file}: {f'{parent}: ' if parent else ''}expected {first['loc'][-1]}, which is missing; add it"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where} is unknown; leave it out, or correct its name"
    if first["type"] == "json_invalid":
        return f"{where} isn't valid JSON: {first['ctx']['error']}"
    if first["type"] in ("value_error", "assertion_error"):
        return f"{where}: {first['ctx']['error']}"
    expected = first["msg"].removeprefix("Input should be ")
    return f"{where}: expected {expected[:1].lower()}{expected[1:]}, got {_shown(first['input'])}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python doesn't write integers of thousands of digits
        return "a number with too many digits"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
