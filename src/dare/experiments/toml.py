"""TOML, written; the standard library only reads it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

BARE = re.compile(r"[A-Za-z0-9_-]+")
"""Keys that need no quotes."""

SECTIONS = 2
"""Tables so deep have a header; deeper ones stand in a line."""


def to_toml(content: Mapping[str, Any]) -> str:
    """A file that `tomllib` reads as this: texts, numbers, truths, and lists and tables of them."""
    return "\n".join(_table(content, ())).strip("\n") + "\n"


def _table(content: Mapping[str, Any], where: tuple[str, ...]) -> Iterator[str]:
    below = {key: value for key, value in content.items() if isinstance(value, dict) and len(where) < SECTIONS}
    own = {key: value for key, value in content.items() if key not in below}
    if where and (own or not below):
        yield f"\n[{'.'.join(map(_key, where))}]"
    for key, value in own.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in below.items():
        yield from _table(value, (*where, key))


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)
