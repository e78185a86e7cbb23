"""One `EmbedStream`: a task that reads, and the method itself, which writes.

Measured traps of grpc.aio that shape it: concurrent writes lose messages, so there is one writer; a
timed-out read reads as the end of the stream, so reads have no time limit; ending a stream with a
status can lose replies, so a stopping server sends a notice and lets the client end it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from qwire_server.api.call import Options
from qwire_server.api.flow import Notice
from qwire_server.api.rpc import wire
from qwire_server.errors import InvalidRequest

if TYPE_CHECKING:
    from qwire.v1 import embedding_pb2 as pb
    from qwire_server.api.flow import Answer, Flow
    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Context

ALIVE_SECONDS = 10.0


async def serve_stream(context: Context, flow: Flow, gate: Gate, alive_seconds: float) -> None:
    """Serve one stream to its end: the client's half-close, or an error.

    Raises:
        RequestError: a message was not understood; texts in flight go unanswered.
    """

    def tell_draining() -> None:
        if gate.draining.is_set():
            flow.notify(Notice.DRAINING)

    reader = asyncio.create_task(_read(context, flow))
    gate.watch(tell_draining)
    try:
        await _write(context, flow, alive_seconds)
    finally:
        gate.unwatch(tell_draining)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await flow.close()


async def _read(context: Context, flow: Flow) -> None:
    try:
        options = Options()
        while (message := await context.read()) is not grpc.aio.EOF:
            if message.HasField("options"):
                options = wire.options_from(message.options)
            _check_ids(message)
            await flow.put(message.ids, message.texts, options)
        flow.finish()
    except Exception as error:  # noqa: BLE001  the writer tells it to the client
        flow.fail(error)


def _check_ids(message: pb.EmbedStreamRequest) -> None:
    if len(message.ids) != len(message.texts):
        raise InvalidRequest(
            f"a message has {len(message.ids)} ids for {len(message.texts)} texts: "
            "send one id for each text"
        )


async def _write(context: Context, flow: Flow, alive_seconds: float) -> None:
    first = True
    while True:
        try:
            ready = await asyncio.wait_for(flow.next(), alive_seconds)
        except asyncio.TimeoutError:
            if flow.is_busy:
                await context.write(wire.notice_response(Notice.ALIVE))
            continue
        if ready is None:
            return
        response = _response(ready)
        if first:
            response.model = flow.served.model
            response.fingerprint = flow.served.fingerprint
            first = False
        await context.write(response)
        if not isinstance(ready, Notice):
            flow.written(ready)


def _response(ready: Answer | Notice) -> pb.EmbedStreamResponse:
    if isinstance(ready, Notice):
        return wire.notice_response(ready)
    return wire.stream_response(ready)
