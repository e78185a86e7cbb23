"""The messages of a stream, for each kind of stream. Does no I/O and keeps no state of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qwire.channels import EMBED, EMBED_STREAM, RERANK, RERANK_STREAM
from qwire.results import StreamItem, decode, read_rows
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2 as rank_pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire.channels import Method
    from qwire.jobs import EmbedJob
    from qwire.ranking import RerankJob


class StreamCodec(Protocol):
    """Writes the requests of a stream and reads its replies."""

    @property
    def method(self) -> Method:
        """The method that streams."""

    @property
    def options(self) -> Any:
        """The options of all texts; they have `expected_fingerprint`."""

    def request(self, *, first: bool) -> Any:
        """A message without texts; the `first` one of a call carries the options."""

    def put(self, message: Any, number: int, text: str) -> None:
        """Add a text to a message."""

    def read(self, reply: Any, ids: Sequence[Any]) -> list[StreamItem]:
        """The items of a reply that answers the texts with these ids of the caller.

        Raises:
            ServerError: the reply contradicts itself.
        """

    def probe(self) -> tuple[Method, Any]:
        """A unary method, and a request without texts that is refused as the stream would be."""


class EmbedCodec:
    """Texts to vectors, one item each."""

    method = EMBED_STREAM

    def __init__(self, options: pb.EmbedOptions) -> None:
        self.options = options

    def request(self, *, first: bool) -> pb.EmbedStreamRequest:
        """See `StreamCodec`."""
        return pb.EmbedStreamRequest(options=self.options if first else None)

    def put(self, message: pb.EmbedStreamRequest, number: int, text: str) -> None:
        """See `StreamCodec`."""
        message.ids.append(number)
        message.texts.append(text)

    def read(self, reply: pb.EmbedStreamResponse, ids: Sequence[Any]) -> list[StreamItem]:
        """See `StreamCodec`."""
        rows = read_rows(reply.vectors, reply.usage, len(ids), self.options.encoding)
        vectors = decode(rows.raw, rows.dim, rows.scales)
        if not vectors.flags.writeable:
            vectors = vectors.copy()  # was a view of the message; the caller may write to his rows
        usage = np.stack((rows.tokens, rows.truncated, rows.unknown), axis=1).tolist()
        return [
            StreamItem(key, vector, *counts)
            for key, vector, counts in zip(ids, vectors, usage, strict=True)
        ]

    def probe(self) -> tuple[Method, pb.EmbedRequest]:
        """See `StreamCodec`."""
        return EMBED, pb.EmbedRequest(options=self.options)


class EmbedListCodec(EmbedCodec):
    """Texts of a list to the rows of its job. The ids are positions; the items hold no vectors."""

    def __init__(self, job: EmbedJob) -> None:
        super().__init__(job.options)
        self._job = job

    def read(self, reply: pb.EmbedStreamResponse, ids: Sequence[Any]) -> list[StreamItem]:
        """See `StreamCodec`."""
        self._job.collect_stream(ids, reply)
        return [StreamItem(position) for position in ids]


class RerankListCodec:
    """Documents of a list to the scores of its job. The ids are positions."""

    method = RERANK_STREAM

    def __init__(self, job: RerankJob) -> None:
        self.options = job.options
        self._job = job

    def request(self, *, first: bool) -> rank_pb.RerankStreamRequest:
        """See `StreamCodec`."""
        if first:
            return rank_pb.RerankStreamRequest(options=self.options, query=self._job.query)
        return rank_pb.RerankStreamRequest()

    def put(self, message: rank_pb.RerankStreamRequest, number: int, text: str) -> None:
        """See `StreamCodec`."""
        message.ids.append(number)
        message.documents.append(text)

    def read(self, reply: rank_pb.RerankStreamResponse, ids: Sequence[Any]) -> list[StreamItem]:
        """See `StreamCodec`."""
        self._job.collect_stream(ids, reply)
        return [StreamItem(position) for position in ids]

    def probe(self) -> tuple[Method, rank_pb.RerankRequest]:
        """See `StreamCodec`."""
        return RERANK, rank_pb.RerankRequest(options=self.options, query=self._job.query)
