"""Times and costs as people write them: 40ms, 1.2G."""

import re

NUMBER = r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*"
SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
MACS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def seconds(text: str) -> float:
    """A positive time: 40ms, 0.04s, or 0.04.

    Raises:
        ValueError: anything else.
    """
    return _quantity(text, SECONDS, "a positive time such as 40ms or 0.04s")


def macs(text: str) -> float:
    """A positive number of multiply-adds: 1.2G, 800M, 1200000.

    Raises:
        ValueError: anything else.
    """
    return _quantity(text, MACS, "a positive number of multiply-adds such as 1.2G or 800M")


def _quantity(text: str, units: dict[str, float], expected: str) -> float:
    match = re.fullmatch(NUMBER + "([a-z]*)", text.lower())
    value = float(match[1]) * units[match[2]] if match and match[2] in units else 0.0
    if not 0 < value < 1e300:
        raise ValueError(f"expected {expected}, got {text!r}")
    return value
