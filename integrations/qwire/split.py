"""Checks texts and cuts a list of them into requests. Pure; knows nothing about the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire.errors import InvalidTextError, TextTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qwire.info import Description

# At 64 texts a message the wire is near its best (measured: 65,000 texts/s, 2,240 at one text);
# 256 KiB keeps a request of long texts short enough that others get their turn.
TEXTS_PER_REQUEST = 64
BYTES_PER_REQUEST = 256 * 1024

# The server receives at most 16 MiB a message. Texts and options share it.
SEND_BYTES = 16 * 1024 * 1024
RECEIVE_BYTES = 64 * 1024 * 1024
_LARGEST_TEXT = SEND_BYTES - 64 * 1024


def text_bytes(text: object, index: int) -> int:
    """Size of a text in UTF-8.

    Raises:
        InvalidTextError: not a string, or a lone surrogate (found by trying to encode).
        TextTooLargeError: no message could carry it.
    """
    if not isinstance(text, str):
        raise InvalidTextError(f"text {index} is not a string: {type(text).__name__}", index=index)
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidTextError(
            f"text {index} holds a lone surrogate at character {error.start}: "
            "it cannot be written as UTF-8",
            index=index,
        ) from None
    if size > _LARGEST_TEXT:
        raise TextTooLargeError(
            f"text {index} has {size} bytes, a message holds {_LARGEST_TEXT}: cut it into pieces",
            index=index,
        )
    return size


def check_texts(texts: Sequence[str]) -> tuple[Sequence[str], list[int]]:
    """The texts as a list or tuple, and their sizes in UTF-8 bytes.

    Raises:
        InvalidTextError: a bare string or no list at all, or a bad text, named by its index.
        TextTooLargeError: a text that no message could carry.
    """
    if isinstance(texts, (str, bytes)):
        raise InvalidTextError(
            f"texts must be a list of strings, not one {type(texts).__name__}: "
            "put it in a list, or use embed_query"
        )
    if not isinstance(texts, (list, tuple)):
        if not hasattr(texts, "__len__"):
            raise InvalidTextError(
                f"texts must be a list of strings, not {type(texts).__name__}: "
                "use embed_stream for an iterable"
            )
        texts = list(texts)  # an array, or a column of a table
    return texts, [text_bytes(text, index) for index, text in enumerate(texts)]


def fits_one_request(sizes: Sequence[int], batch_size: int | None) -> bool:
    """Whether the texts make one request by what every server takes, without asking it."""
    count = min(batch_size or TEXTS_PER_REQUEST, TEXTS_PER_REQUEST)
    return len(sizes) <= count and (len(sizes) <= 1 or sum(sizes) <= BYTES_PER_REQUEST)


def request_limits(batch_size: int | None, description: Description | None) -> tuple[int, int]:
    """Most texts and most bytes of text in a request, within what the server advertised.

    An advertised 0 means that it said nothing. Replies must fit what this client receives.
    """
    texts, size = batch_size or TEXTS_PER_REQUEST, BYTES_PER_REQUEST
    if description is not None:
        limits = description.limits
        texts = min(texts, limits.texts_per_request or texts)
        size = min(size, limits.bytes_per_message or size)
        # 4 bytes a value, and at most 3 varints of 5 bytes and a tag for the usage of each text.
        texts = min(texts, RECEIVE_BYTES // (4 * description.dimensions.native + 32))
    return max(1, texts), size


def split(sizes: Sequence[int], max_texts: int, max_bytes: int) -> Iterator[range]:
    """Cut `len(sizes)` texts into runs, in order; one text alone may exceed `max_bytes`.

    No texts make one empty run: an empty request asks for the width of an empty result.
    """
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and (index - start >= max_texts or total + size > max_bytes):
            yield range(start, index)
            start, total = index, 0
        total += size
    yield range(start, len(sizes))


def as_query(text: str) -> list[str]:
    """One question as a list of one.

    Raises:
        InvalidTextError: it is not a string.
    """
    if not isinstance(text, str):
        raise InvalidTextError(f"a query is one string, not {type(text).__name__}", index=0)
    return [text]
