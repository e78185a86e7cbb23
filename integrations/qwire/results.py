"""What calls return, and how replies become arrays. Knows nothing about channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qwire.errors import FingerprintMismatchError, QwireError, ServerError
from qwire.fingerprint import difference
from qwire.v1 import embedding_pb2 as pb

# Little-endian on the wire whatever the machine.
_DTYPES: dict[int, np.dtype[Any]] = {
    pb.ENCODING_FLOAT32: np.dtype("<f4"),
    pb.ENCODING_FLOAT16: np.dtype("<f2"),
    pb.ENCODING_INT8: np.dtype("i1"),
    pb.ENCODING_BINARY: np.dtype("u1"),
}


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The vectors of a list of texts, in its order; usable as the array `.vectors`.

    Attributes:
        raw: as sent: float32, float16 or int8 `(n, dim)`, or packed bits uint8 `(n, ceil(dim/8))`.
        scales: float32 `(n,)` with int8, else None.
        tokens: int64 `(n,)`, tokens computed, prompt and special tokens included.
        truncated: int64 `(n,)`, tokens cut off each text.
        unknown: int64 `(n,)`, tokens that the tokenizer had no entry for.
        dim: values a vector.
        fingerprint: changes whenever the vectors may; do not mix two in one index.
        model: as the server names it.
    """

    raw: NDArray[Any]
    scales: NDArray[np.float32] | None
    tokens: NDArray[np.int64]
    truncated: NDArray[np.int64]
    unknown: NDArray[np.int64]
    dim: int
    fingerprint: str
    model: str

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """float32 `(n, dim)`, C-contiguous; decoded on first use unless `raw` is that already."""
        return decode(self.raw, self.dim, self.scales)

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, dim)`."""
        return len(self.raw), self.dim

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is None or np.dtype(dtype) == self.vectors.dtype:
            return self.vectors.copy() if copy else self.vectors
        if copy is False:
            raise ValueError(f"float32 vectors as {np.dtype(dtype)} need a copy")
        return self.vectors.astype(dtype)

    def __len__(self) -> int:
        return len(self.raw)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return iter(self.vectors)

    def __getitem__(self, index: Any) -> Any:
        return self.vectors[index]

    def __repr__(self) -> str:
        return f"<Embeddings {self.shape} {self.raw.dtype} of {self.model}>"


@dataclass(frozen=True, eq=False)
class PartialEmbeddings:
    """Vectors of a list that came before its call failed; the `partial` of its error.

    Attributes:
        indices: int64 `(k,)`, positions in the caller's list, rising.
        embeddings: vectors of these texts, in their order.
    """

    indices: NDArray[np.intp]
    embeddings: Embeddings


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """Tokens that embedding each text would use: `.tokens` and `.unknown`, int64 `(n,)`."""

    tokens: NDArray[np.int64]
    unknown: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StreamItem:
    """One answer of a stream: either `embedding` float32 `(dim,)`, or `error`.

    `id` is the caller's, or the position where texts came without one. `tokens`, `truncated` and
    `unknown` are counts, 0 with an error.
    """

    id: Any
    embedding: NDArray[np.float32] | None = None
    tokens: int = 0
    truncated: int = 0
    unknown: int = 0
    error: QwireError | None = None


@dataclass(frozen=True)
class Rows:
    """The checked content of one reply: views of its bytes; shapes as in `Embeddings`."""

    raw: NDArray[Any]
    scales: NDArray[np.float32] | None
    tokens: NDArray[np.int64]
    truncated: NDArray[np.int64]
    unknown: NDArray[np.int64]
    dim: int


def read_rows(vectors: pb.Vectors, usage: pb.TextUsage, count: int, encoding: int) -> Rows:
    """Check that a reply says what was asked, and view its rows.

    Args:
        vectors: as received.
        usage: as received.
        count: rows expected.
        encoding: the `Encoding` asked for.

    Raises:
        ServerError: it does not: rows, dim, encoding and byte lengths contradict each other, or a
            value is NaN or infinite.
    """
    dtype = _DTYPES[encoding]
    dim = vectors.dim
    width = -(-dim // 8) if encoding == pb.ENCODING_BINARY else dim
    _agree("rows", vectors.rows, count)
    if count:
        _agree("encoding", vectors.encoding or pb.ENCODING_FLOAT32, encoding)
        if not dim:
            raise ServerError("the reply contradicts itself: vectors of 0 values")
    _agree("bytes", len(vectors.data), count * width * dtype.itemsize)
    scales = None
    if encoding == pb.ENCODING_INT8:
        _agree("bytes of scales", len(vectors.scales), count * 4)
        scales = np.frombuffer(vectors.scales, "<f4")
    raw = np.frombuffer(vectors.data, dtype).reshape(count, width)
    check_finite(raw if scales is None else scales)
    return Rows(
        raw=raw,
        scales=scales,
        tokens=read_counts("tokens", usage.tokens, count),
        truncated=read_counts("cut", usage.cut, count),
        unknown=read_counts("unknown", usage.unknown, count),
        dim=dim,
    )


def read_counts(name: str, values: Any, count: int) -> NDArray[np.int64]:
    """A repeated field of one number per text, as int64 `(count,)`."""
    _agree(f"numbers in {name}", len(values), count)
    return np.fromiter(values, np.int64, count)


def check_finite(values: NDArray[Any]) -> None:
    """No vector is better than a wrong one, which an index would keep.

    Raises:
        ServerError: a value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise ServerError("the reply holds values that are not finite: no vectors are made of it")


def decode(raw: NDArray[Any], dim: int, scales: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Rows as sent to float32 `(n, dim)`: int8 is q * scale, a bit is +-1/sqrt(dim)."""
    if raw.dtype == np.uint8:
        bits = np.unpackbits(raw, axis=1, count=dim)
        one = np.float32(max(dim, 1) ** -0.5)
        signs: NDArray[np.float32] = np.where(bits, one, -one)
        return signs
    vectors: NDArray[np.float32] = np.ascontiguousarray(raw, np.float32)
    if scales is not None:
        vectors *= scales[:, None]  # a copy already, since int8 is not float32
    return vectors


CHANGED = "the model behind the target changed, or several servers with different models share it"


def check_fingerprint(got: str, expected: str) -> None:
    """Vectors of one call come from one model.

    Raises:
        FingerprintMismatchError: they do not.
    """
    if expected and got != expected:
        raise FingerprintMismatchError(
            f"vectors of fingerprint {got!r} came, not of {expected!r}: "
            f"{difference(expected, got) or CHANGED}"
        )


def _agree(what: str, got: int, expected: int) -> None:
    if got != expected:
        raise ServerError(f"the reply contradicts the request: {got} {what}, not {expected}")
