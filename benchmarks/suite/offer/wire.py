"""What the generator says to a server, as bytes; and what the server's counters say of a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from benchmarks.rounds import digits
from qwire.v1 import embedding_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

_SERVICE = "/qwire.v1.Embedding/"
_HEALTH = "/grpc.health.v1.Health/Check"
# A row is 4 KiB: 64 of them fit the usual 4 MiB, those of a longer message need not.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Wire:
    """One connection; its methods take bytes and give bytes."""

    def __init__(self, target: str) -> None:
        # A pool of its own: channels of one process and target share a connection otherwise.
        options = [*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.aio.insecure_channel(target, options)
        self.embed: Any = self.channel.unary_unary(_SERVICE + "Embed")
        self.stream: Any = self.channel.stream_stream(_SERVICE + "EmbedStream")
        self.nothing: Any = self.channel.unary_unary(_HEALTH)
        self._stats: Any = self.channel.unary_unary(_SERVICE + "Stats")

    async def stats(self) -> pb.StatsResponse:
        """The counters now."""
        return pb.StatsResponse.FromString(await self._stats(b""))


def options(*, queries: bool) -> pb.EmbedOptions:
    """Of every message."""
    return pb.EmbedOptions(
        input_type=pb.INPUT_TYPE_QUERY if queries else pb.INPUT_TYPE_DOCUMENT,
    )


def requests(texts: Sequence[str], texts_per_call: int, *, queries: bool) -> list[bytes]:
    """Bytes of `Embed`."""
    return [
        pb.EmbedRequest(
            options=options(queries=queries), texts=texts[i : i + texts_per_call]
        ).SerializeToString()
        for i in range(0, len(texts), texts_per_call)
    ]


def between(before: pb.StatsResponse, after: pb.StatsResponse) -> dict[str, Any]:
    """What the server did meanwhile, by its own counters.

    `starved` is the share of the time in which the device had no work though a text waited.
    """
    seconds = after.uptime_seconds - before.uptime_seconds
    batches = after.batches - before.batches
    return {
        "seconds": digits(seconds),
        "batches": batches,
        "texts": after.texts - before.texts,
        "tokens": after.tokens - before.tokens,
        "bulk_tokens": after.bulk_tokens - before.bulk_tokens,
        "tokens_per_batch": digits((after.tokens - before.tokens) / max(1, batches)),
        "batch_fill": digits(after.batch_fill),
        "busy": digits((after.busy_seconds - before.busy_seconds) / seconds),
        "starved": digits((after.starved_seconds - before.starved_seconds) / seconds),
    }
