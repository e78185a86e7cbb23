"""Kinds of values of config.json: in words, and as a test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST = 2**31 - 1  # of any size in a model


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value.

    Attributes:
        words: to follow "it is not".
        fits: whether a value is one.
    """

    words: str
    fits: Callable[[Any], object]


def whole(least: int, most: int = _LARGEST, *, null: bool = False) -> Kind:
    """Whole numbers in a range, and null if it stands for a default."""

    def fits(value: Any) -> bool:
        if value is None:
            return null
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    words = f"a whole number from {least} to {most}"
    return Kind(f"{words} or null" if null else words, fits)


def _is_number(value: Any) -> bool:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return numeric and 0 <= value < math.inf


WHOLE = whole(0)
NUMBER = Kind("a finite number from 0 on", _is_number)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a string", lambda value: isinstance(value, str))
