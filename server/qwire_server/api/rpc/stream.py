"""One stream: a task that reads, and the method itself, which writes.

Measured traps of grpc.aio that shape it: concurrent writes lose messages, so there is one writer; a
timed-out read reads as the end of the stream, so reads have no time limit; ending a stream with a
status can lose replies, so a stopping server sends a notice and lets the client end it.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from qwire_server.api.call import Options
from qwire_server.api.flow import Notice
from qwire_server.api.rpc import wire
from qwire_server.api.rpc.writer import Writer
from qwire_server.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire.v1 import embedding_pb2 as pb
    from qwire_server.api.chunk import Answer
    from qwire_server.api.flow import Flow
    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Context
    from qwire_server.api.rpc.rules import StreamRules

_LEAST_ALIVE_SECONDS = 0.1  # ten small messages a second cost a stream nothing
_FOREVER = 365 * 24 * 3600.0  # in seconds: an event loop has no infinite timers


class Dialect(Protocol):
    """The messages of one kind of stream."""

    async def take(self, message: Any) -> None:
        """Put the texts of one message into the flow."""

    def response(self, ready: Answer | Notice) -> Any:
        """The message that tells what is ready."""


class EmbedDialect:
    """`EmbedStream`: options hold until a message brings others."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._options = Options()

    async def take(self, message: pb.EmbedStreamRequest) -> None:
        """Put the texts of one message into the flow.

        Raises:
            RequestError: it is not understood.
        """
        if message.HasField("options"):
            self._options = wire.options_from(message.options)
        check_ids(message.ids, message.texts)
        await self._flow.put(message.ids, message.texts, self._options)

    def response(self, ready: Answer | Notice) -> pb.EmbedStreamResponse:
        """The message that tells what is ready."""
        if isinstance(ready, Notice):
            return wire.notice_response(ready)
        return wire.stream_response(ready)


async def serve_stream(
    context: Context,
    flow: Flow,
    gate: Gate,
    rules: StreamRules,
    dialect: Dialect | None = None,
) -> None:
    """Serve one stream to its end: the client's half-close, or an error.

    The messages are those of `EmbedStream` unless `dialect` says otherwise.

    Raises:
        RequestError: a message was not understood, or replies are not read; texts in flight go
            unanswered.
    """

    def tell_draining() -> None:
        if gate.draining.is_set():
            flow.notify(Notice.DRAINING)

    dialect = dialect or EmbedDialect(flow)
    writer = Writer(context, flow.desk, flow.client, rules.stalled_seconds)
    reader = asyncio.create_task(_read(context, flow, dialect))
    gate.watch(tell_draining)
    aging = asyncio.get_running_loop().call_later(
        min(rules.reconnect_seconds, _FOREVER), flow.notify, Notice.RECONNECT
    )
    try:
        await _write(writer, flow, _alive_seconds(context, rules), dialect)
    finally:
        aging.cancel()
        gate.unwatch(tell_draining)
        await flow.close(reader)


def _alive_seconds(context: Context, rules: StreamRules) -> float:
    """How often ALIVE is sent: as the client asks with `qwire-alive-ms`, within limits."""
    asked = str(dict(context.invocation_metadata() or ()).get("qwire-alive-ms", ""))
    if not re.fullmatch("[0-9]{1,9}", asked):
        return rules.alive_seconds
    return min(max(int(asked) / 1000, _LEAST_ALIVE_SECONDS), rules.alive_seconds)


async def _read(context: Context, flow: Flow, dialect: Dialect) -> None:
    try:
        while (message := await context.read()) is not grpc.aio.EOF:
            await dialect.take(message)
        flow.finish()
    except Exception as error:  # noqa: BLE001  the writer tells it to the client
        flow.fail(error)


def check_ids(ids: Sequence[int], texts: Sequence[str]) -> None:
    """Check that each text of a message has an id.

    Raises:
        InvalidRequest: it has not.
    """
    if len(ids) != len(texts):
        raise InvalidRequest(
            f"a message has {len(ids)} ids for {len(texts)} texts: send one id for each text"
        )


async def _write(writer: Writer, flow: Flow, alive_seconds: float, dialect: Dialect) -> None:
    first = True
    while True:
        try:
            ready = await asyncio.wait_for(flow.next(), alive_seconds)
        except asyncio.TimeoutError:
            if flow.is_busy:
                await writer.write(dialect.response(Notice.ALIVE))
            continue
        if ready is None:
            return
        response = dialect.response(ready)
        if first:
            response.model = flow.served.model
            response.fingerprint = flow.served.fingerprint
            first = False
        await writer.write(response)
        if not isinstance(ready, Notice):
            flow.written(ready)
