"""The methods of `tei.v1.Embed` and of `tei.v1.Predict`: unpack, call the embedder, pack."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qwire_server.api.tei import wire
from qwire_server.api.tei.calls import guarded, guarded_stream
from qwire_server.api.tei.embed_stream import EmbedStream
from qwire_server.api.tei.errors import NotOffered
from qwire_server.engine.work import RequestClass
from qwire_server.errors import NotServed
from qwire_server.pb.tei.v1 import tei_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Context, Guard
    from qwire_server.api.rpc.rules import StreamRules
    from qwire_server.errors import RequestError
    from qwire_server.pb.tei.v1 import tei_pb2 as pb

_NO_SPARSE = "the model on this server gives dense vectors: use Embed"
_NO_TOKENS = "vectors of single tokens are not offered: use Embed"
_NO_CLASSES = "the model on this server is not a classifier model"


def _chars(request: pb.EmbedRequest) -> int:
    return len(request.inputs)


def _no_size(_: object) -> int:
    return 0


class _Refusing:
    """Methods that are part of the contract, and that no model of ours can answer."""

    def __init__(self, gate: Gate, guard: Guard, rules: StreamRules) -> None:
        self._gate = gate
        self._guard = guard
        self._rules = rules

    async def _refuse(self, method: str, context: Context, error: RequestError) -> None:
        async with guarded(self._guard, method, context, RequestClass.INTERACTIVE):
            self._gate.models()  # while there is none, that is the answer
            raise error

    async def _refuse_stream(self, method: str, context: Context, error: RequestError) -> None:
        async with guarded_stream(self._guard, method, context, _no_size):
            self._gate.models()
            raise error


class EmbedService(_Refusing, pb_grpc.EmbedServicer):
    """One instance for each server."""

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:
        """One text."""
        began = time.monotonic()
        async with guarded(self._guard, "Embed", context, RequestClass.INTERACTIVE) as opened:
            call, tally = opened
            embedder = self._gate.embedder()
            wire.check_inputs(request.inputs)
            tally.texts = 1
            reply = await embedder.embed(call, [request.inputs], wire.options_from(request))
            tally.tokens, tally.cut = reply.tokens[0], reply.cut[0]
            took = wire.metadata(len(request.inputs), reply.tokens[0], began, reply.timings)
            await context.send_initial_metadata(wire.headers(embedder.served.device, took))
            return wire.embed_response(reply.rows.data, took)

    async def EmbedStream(
        self, request_iterator: AsyncIterator[pb.EmbedRequest], context: Context
    ) -> None:
        """Any number of texts, answered in order."""
        async with guarded_stream(self._guard, "EmbedStream", context, _chars) as opened:
            call, tally, arrivals = opened
            embedder = self._gate.embedder()
            async with embedder.room.stream(call.client):
                stream = EmbedStream(context, call, arrivals, embedder, self._gate, self._rules)
                try:
                    await stream.serve()
                finally:
                    flow = stream.flow
                    tally.texts, tally.tokens, tally.cut = flow.texts, flow.tokens, flow.cut

    async def EmbedSparse(self, request: pb.EmbedSparseRequest, context: Context) -> None:
        """Not for dense models."""
        await self._refuse("EmbedSparse", context, NotServed(_NO_SPARSE))

    async def EmbedSparseStream(
        self, request_iterator: AsyncIterator[pb.EmbedSparseRequest], context: Context
    ) -> None:
        """Not for dense models."""
        await self._refuse_stream("EmbedSparseStream", context, NotServed(_NO_SPARSE))

    async def EmbedAll(self, request: pb.EmbedAllRequest, context: Context) -> None:
        """Not offered."""
        await self._refuse("EmbedAll", context, NotOffered(_NO_TOKENS))

    async def EmbedAllStream(
        self, request_iterator: AsyncIterator[pb.EmbedAllRequest], context: Context
    ) -> None:
        """Not offered."""
        await self._refuse_stream("EmbedAllStream", context, NotOffered(_NO_TOKENS))


class PredictService(_Refusing, pb_grpc.PredictServicer):
    """One instance for each server; no classifier is served."""

    async def Predict(self, request: pb.PredictRequest, context: Context) -> None:
        """Only for classifiers."""
        await self._refuse("Predict", context, NotServed(_NO_CLASSES))

    async def PredictPair(self, request: pb.PredictPairRequest, context: Context) -> None:
        """Only for classifiers."""
        await self._refuse("PredictPair", context, NotServed(_NO_CLASSES))

    async def PredictStream(
        self, request_iterator: AsyncIterator[pb.PredictRequest], context: Context
    ) -> None:
        """Only for classifiers."""
        await self._refuse_stream("PredictStream", context, NotServed(_NO_CLASSES))

    async def PredictPairStream(
        self, request_iterator: AsyncIterator[pb.PredictPairRequest], context: Context
    ) -> None:
        """Only for classifiers."""
        await self._refuse_stream("PredictPairStream", context, NotServed(_NO_CLASSES))
