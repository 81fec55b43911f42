"""Files with a schema: what is wrong with one, in a line that names the file, the place and what was expected."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

LONGEST = 80
"""Characters of a value that are shown."""

BOUNDS = {"greater than or equal to": "at least", "less than or equal to": "at most"}


def said(error: ValidationError, file: str | Path) -> str:
    """The first thing that a pydantic model refused: `FILE: PLACE: expected ..., got ...`.

    What a model's own validators raise is said in their words.
    """
    errors = error.errors(include_url=False)
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"])
    where = f"{file}: {place}" if place else str(file)
    if first["type"] == "missing":
        lacking = [str(each["loc"][0]) for each in errors if each["type"] == "missing" and len(each["loc"]) == 1]
        if len(lacking) > 1:
            return f"{file} lacks {', '.join(lacking)}, so it is another kind of file"
        parent = ".".join(str(part) for part in first["loc"][:-1])
        return f"{file}: {f'{parent}: ' if parent else ''}expected {first['loc'][-1]}, which is missing; add it"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where} is unknown; leave it out, or correct its name"
    if first["type"] == "json_invalid":
        return f"{where} isn't valid JSON: {first['ctx']['error']}"
    if first["type"] in ("value_error", "assertion_error"):
        return f"{where}: {first['ctx']['error']}"
    expected = first["msg"].removeprefix("Input should be ")
    for bound, plain in BOUNDS.items():
        expected = expected.replace(bound, plain)
    return f"{where}: expected {expected[:1].lower()}{expected[1:]}, got {_shown(first['input'])}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python doesn't write integers of thousands of digits
        return "a number with too many digits"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
