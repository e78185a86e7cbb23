"""Counts what a JSON text holds while its bytes arrive, before anything is built from it.

15 MB of empty lists are 5 million Python objects, and seconds of work that nothing interrupts. The
scan costs about a millisecond for each 64 KiB, and stops at the first part that holds too much.
"""

from __future__ import annotations

from itertools import accumulate

from qwire_server.errors import InvalidRequest

MAX_DEPTH = 32  # lists and objects within each other; no interface needs more than six
_MARKS = b'",[]{}'
_OTHERS = bytes(set(range(256)) - set(_MARKS))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class TooManyValues(InvalidRequest):
    """More values in one body than any request needs, or lists nested too deeply."""


class JsonScan:
    """Reads the bytes of one JSON text part by part.

    Args:
        max_values: texts, numbers, lists and objects that it may hold.
        max_lists: how many of them may be lists or objects; a Python object each.

    Attributes:
        values: upper bound on those that were seen.
    """

    def __init__(self, max_values: int, max_lists: int) -> None:
        self.values = 1
        self._lists = 0
        self._max_values = max_values
        self._max_lists = max_lists
        self._quotes = 0
        self._depth = 0
        self._escape = b""  # the first half of an escape that a part ended in

    def feed(self, part: bytes) -> None:
        """Read the next part.

        Raises:
            TooManyValues.
        """
        outside, quotes = _outside(self._without_escapes(part), inside=self._quotes % 2 == 1)
        self._quotes += quotes
        brackets = outside.translate(None, b",")
        opened = brackets.count(b"[") + brackets.count(b"{")
        self._lists += opened
        self.values += len(outside) - len(brackets) + opened
        # Each value has at most one key, so at most four quotes.
        if self.values > self._max_values or self._quotes > 4 * self._max_values:
            raise _too_many(self._max_values, "values (texts, numbers, lists)")
        if self._lists > self._max_lists:
            raise _too_many(self._max_lists, "lists and objects")
        if brackets:
            depths = accumulate(map(_STEPS.__getitem__, brackets), initial=self._depth)
            if max(depths) > MAX_DEPTH:
                raise TooManyValues(f"the body has more than {MAX_DEPTH} levels of lists")
            self._depth += 2 * opened - len(brackets)

    def _without_escapes(self, part: bytes) -> bytes:
        """The part without escaped quotes and backslashes; half an escape waits for the next."""
        part = self._escape + part
        self._escape = b""
        if b"\\" not in part:
            return part
        if (len(part) - len(part.rstrip(b"\\"))) % 2:
            part, self._escape = part[:-1], b"\\"
        return _drop_escapes(part)


def brackets_of(text: bytes) -> bytes:
    """The brackets of the beginning of a JSON text, without those in its strings."""
    return _outside(_drop_escapes(text), inside=False)[0].translate(None, b",")


def _outside(part: bytes, *, inside: bool) -> tuple[bytes, int]:
    """Commas and brackets outside strings, and the number of quotes.

    Args:
        part: without escaped quotes.
        inside: whether it begins in a string.
    """
    pieces = part.translate(None, _OTHERS).split(b'"')
    return b"".join(pieces[inside::2]), len(pieces) - 1


def _drop_escapes(text: bytes) -> bytes:
    return text.replace(b"\\\\", b"").replace(b'\\"', b"")


def _too_many(limit: int, what: str) -> TooManyValues:
    return TooManyValues(
        f"the body holds more than {limit} {what}: send fewer at a time, or raise --max-texts"
    )
