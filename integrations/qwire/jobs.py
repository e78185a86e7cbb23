"""One call of many texts: its requests, and its replies put together. Does no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qwire.errors import ServerError
from qwire.results import (
    Embeddings,
    PartialEmbeddings,
    Rows,
    TokenCounts,
    check_fingerprint,
    read_counts,
    read_rows,
)
from qwire.split import check_texts, fits_one_request, request_limits, split
from qwire.v1 import embedding_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from qwire.info import Description


class Request(NamedTuple):
    """A message to send, and the positions of its texts in the caller's list."""

    message: Any
    run: range


class Texts:
    """The caller's list, checked, and where it is cut.

    Attributes:
        texts: all of them.
        answered: bool `(n,)`, those whose answer has come.
        runs: the positions of each request's texts, after `split`.
    """

    def __init__(self, texts: Sequence[str], batch_size: int | None) -> None:
        self.texts, self._sizes = check_texts(texts)
        self._batch_size = batch_size
        self.answered: NDArray[np.bool_] = np.zeros(len(self.texts), np.bool_)
        self.runs: list[range] = []

    @property
    def needs_limits(self) -> bool:
        """Whether it takes the server's limits to cut the list: not for one small request."""
        return not fits_one_request(self._sizes, self._batch_size)

    def split(self, description: Description | None) -> None:
        """Cut the list within the limits of `description`, where it is known."""
        self.runs = list(split(self._sizes, *request_limits(self._batch_size, description)))

    def of(self, run: range) -> Sequence[str]:
        """The texts of one request."""
        return self.texts[run.start : run.stop]


class EmbedJob:
    """An `embed` call. Raises what `check_texts` and `read_rows` raise."""

    def __init__(
        self, texts: Sequence[str], options: pb.EmbedOptions, batch_size: int | None
    ) -> None:
        self.texts = Texts(texts, batch_size)
        self.options = options
        self._parts: _Merged | None = None
        self._fingerprint = options.expected_fingerprint
        self._model = ""

    def requests(self) -> Iterator[Request]:
        """What to send, made one by one so that a long list is not held twice."""
        if not self.options.request_class:
            split = len(self.texts.runs) > 1
            self.options.request_class = (
                pb.REQUEST_CLASS_BULK if split else pb.REQUEST_CLASS_INTERACTIVE
            )
        for run in self.texts.runs:
            yield Request(pb.EmbedRequest(options=self.options, texts=self.texts.of(run)), run)

    def collect(self, run: range, reply: pb.EmbedResponse) -> None:
        """Take one reply, in any order.

        Raises:
            ServerError: it contradicts the request, or the replies before it.
            FingerprintMismatchError: it comes from another model.
        """
        self._put(slice(run.start, run.stop), len(run), reply)

    def collect_stream(self, positions: Sequence[int], reply: pb.EmbedStreamResponse) -> None:
        """Take one reply of a stream, with the vectors of the texts at these positions.

        Errors are those of `collect`.
        """
        self._put(list(positions), len(positions), reply)

    def _put(
        self, at: slice | list[int], count: int, reply: pb.EmbedResponse | pb.EmbedStreamResponse
    ) -> None:
        if reply.fingerprint:  # of a stream, only the first reply says
            check_fingerprint(reply.fingerprint, self._fingerprint)
            self._fingerprint, self._model = reply.fingerprint, reply.model
        rows = read_rows(reply.vectors, reply.usage, count, self.options.encoding)
        if self._parts is None:
            self._parts = _Merged(len(self.texts.texts), rows)
        self._parts.put(at, rows)
        self.texts.answered[at] = True

    def partial(self) -> PartialEmbeddings | None:
        """The answers so far; None if there are none."""
        indices = np.flatnonzero(self.texts.answered)
        if self._parts is None or not len(indices):
            return None
        return PartialEmbeddings(indices, self._embeddings(self._parts, indices))

    @property
    def dim(self) -> int:
        """Values a vector; 0 if the reply to an empty list did not say."""
        assert self._parts is not None, "no reply was collected: this is a bug"
        return self._parts.dim

    def result(self, dim: int) -> Embeddings:
        """All replies as one; `dim` stands in for what an empty reply did not say."""
        parts = self._parts
        assert parts is not None, "no reply was collected: this is a bug"
        if not parts.dim:
            parts = _Merged(0, empty_rows(dim, self.options.encoding))
        return self._embeddings(parts)

    def _embeddings(self, parts: _Merged, at: slice | NDArray[np.intp] = slice(None)) -> Embeddings:
        return Embeddings(
            raw=parts.raw[at],
            scales=None if parts.scales is None else parts.scales[at],
            tokens=parts.usage[0, at],
            truncated=parts.usage[1, at],
            unknown=parts.usage[2, at],
            dim=parts.dim,
            fingerprint=self._fingerprint,
            model=self._model,
        )


class CountJob:
    """A `count_tokens` call."""

    def __init__(self, texts: Sequence[str], options: pb.EmbedOptions) -> None:
        self.texts = Texts(texts, None)
        self._options = options
        self._usage = np.zeros((2, len(self.texts.texts)), np.int64)

    def requests(self) -> Iterator[Request]:
        """What to send."""
        for run in self.texts.runs:
            message = pb.CountTokensRequest(options=self._options, texts=self.texts.of(run))
            yield Request(message, run)

    def collect(self, run: range, reply: pb.CountTokensResponse) -> None:
        """Take one reply, in any order; ServerError if it contradicts the request."""
        at = slice(run.start, run.stop)
        self._usage[0, at] = read_counts("tokens", reply.tokens, len(run))
        self._usage[1, at] = read_counts("unknown", reply.unknown, len(run))

    def partial(self) -> None:
        """Counts cost little: none are kept of a call that failed."""

    def result(self) -> TokenCounts:
        """All replies as one."""
        return TokenCounts(tokens=self._usage[0], unknown=self._usage[1])


def empty_rows(dim: int, encoding: pb.Encoding) -> Rows:
    """No rows of `dim` values."""
    vectors = pb.Vectors(rows=0, dim=dim, encoding=encoding)
    return read_rows(vectors, pb.TextUsage(), 0, encoding)


class _Merged:
    """The caller's arrays, made once, filled from replies in any order.

    Writing each reply into its place costs the one copy that makes the result the caller's own
    (a view of a message is read-only), and never holds the vectors twice.
    """

    def __init__(self, count: int, first: Rows) -> None:
        self.dim = first.dim
        dtype = first.raw.dtype.newbyteorder("=")
        self.raw: NDArray[Any] = np.empty((count, first.raw.shape[1]), dtype)
        self.scales = None if first.scales is None else np.empty(count, np.float32)
        self.usage = np.zeros((3, count), np.int64)  # tokens, cut, unknown

    def put(self, at: slice | list[int], rows: Rows) -> None:
        if rows.dim != self.dim:
            raise ServerError(f"the replies contradict each other: dim {rows.dim} and {self.dim}")
        self.raw[at] = rows.raw
        if self.scales is not None:
            self.scales[at] = rows.scales
        self.usage[:, at] = rows.tokens, rows.truncated, rows.unknown
