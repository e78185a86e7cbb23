"""The methods of `qwire.v1.Embedding`: unpack, call the embedder, pack. No policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from qwire_server.api.flow import Flow
from qwire_server.api.rpc import wire
from qwire_server.api.rpc.stream import serve_stream
from qwire_server.engine.work import RequestClass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Context, Guard
    from qwire_server.api.rpc.rules import StreamRules


class EmbeddingService(pb_grpc.EmbeddingServicer):
    """One instance for each server."""

    def __init__(self, gate: Gate, guard: Guard, rules: StreamRules) -> None:
        self._gate = gate
        self._guard = guard
        self._rules = rules

    async def Describe(self, request: pb.DescribeRequest, context: Context) -> pb.DescribeResponse:
        """What runs here."""
        async with self._guard.call("Describe", context, RequestClass.INTERACTIVE):
            embedder, reranker = self._gate.models()
            return wire.describe_response(embedder.served if embedder else None, reranker)

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:
        """Many texts, all or nothing."""
        async with self._guard.call("Embed", context, RequestClass.INTERACTIVE) as (call, tally):
            embedder = self._gate.embedder()
            options = wire.options_from(request.options)
            tally.texts = len(request.texts)
            embedder.served.check_count(tally.texts)
            reply = await embedder.embed(call, list(request.texts), options)
            tally.tokens, tally.cut = sum(reply.tokens), sum(reply.cut)
            return wire.embed_response(reply, embedder.served)

    async def EmbedStream(
        self,
        request_iterator: AsyncIterator[pb.EmbedStreamRequest],
        context: Context,
    ) -> None:
        """Any number of texts, answered as they are ready."""
        async with self._guard.call("EmbedStream", context, RequestClass.BULK) as (call, tally):
            embedder = self._gate.embedder()
            flow = Flow(embedder, call)
            try:
                async with embedder.room.stream(call.client):
                    await serve_stream(context, flow, self._gate, self._rules)
            finally:
                tally.texts, tally.tokens, tally.cut = flow.texts, flow.tokens, flow.cut

    async def CountTokens(
        self, request: pb.CountTokensRequest, context: Context
    ) -> pb.CountTokensResponse:
        """Tokens that `Embed` would use."""
        async with self._guard.call("CountTokens", context, RequestClass.INTERACTIVE) as (
            call,
            tally,
        ):
            embedder = self._gate.embedder()
            options = wire.options_from(request.options)
            tally.texts = len(request.texts)
            embedder.served.check_count(tally.texts)
            tokens, unknown = await embedder.count(call, list(request.texts), options)
            return pb.CountTokensResponse(tokens=tokens, unknown=unknown)

    async def Stats(self, request: pb.StatsRequest, context: Context) -> pb.StatsResponse:
        """How busy it is."""
        async with self._guard.call("Stats", context, RequestClass.INTERACTIVE) as (call, _):
            embedder, reranker = self._gate.models()
            any_model = embedder or (reranker.embedder if reranker else None)
            assert any_model is not None
            only = None if call.sees_clients else call.client
            return wire.stats_response(await any_model.stats(only))
