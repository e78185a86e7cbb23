"""The methods of `tei.v1.Rerank`: unpack, call the reranker, pack."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qwire_server.api.tei import wire
from qwire_server.api.tei.calls import guarded, guarded_stream
from qwire_server.api.tei.rerank_stream import RerankStream
from qwire_server.engine.work import RequestClass
from qwire_server.pb.tei.v1 import tei_pb2 as pb
from qwire_server.pb.tei.v1 import tei_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Context, Guard


class RerankService(pb_grpc.RerankServicer):
    """One instance for each server."""

    def __init__(self, gate: Gate, guard: Guard) -> None:
        self._gate = gate
        self._guard = guard

    async def Rerank(self, request: pb.RerankRequest, context: Context) -> pb.RerankResponse:
        """Texts of one query."""
        began = time.monotonic()
        async with guarded(self._guard, "Rerank", context, RequestClass.INTERACTIVE) as opened:
            call, tally = opened
            reranker = self._gate.reranker()
            tally.texts = len(request.texts)
            reranker.served.check_count(tally.texts)
            texts = list(request.texts)
            wire.check_texts(texts)
            options = wire.rank_options(request)
            ranking = await reranker.rerank(call, request.query, texts, options)
            tally.tokens, tally.cut = sum(ranking.tokens), sum(ranking.cut)
            chars = len(request.query) * len(texts) + sum(map(len, texts))
            took = wire.metadata(chars, tally.tokens, began, ranking.timings)
            await context.send_initial_metadata(wire.headers(reranker.served.device, took))
            shown = texts if request.return_text else None
            return wire.rerank_response(ranking.log_odds, shown, took, raw=request.raw_scores)

    async def RerankStream(
        self, request_iterator: AsyncIterator[pb.RerankStreamRequest], context: Context
    ) -> pb.RerankResponse:
        """Any number of texts; one answer, after the last of them."""
        began = time.monotonic()
        async with guarded_stream(self._guard, "RerankStream", context, _chars) as opened:
            call, tally, arrivals = opened
            reranker = self._gate.reranker()
            async with reranker.embedder.room.stream(call.client):
                stream = RerankStream(call, arrivals, reranker)
                try:
                    await stream.serve()
                finally:
                    flow = stream.flow
                    tally.texts, tally.tokens, tally.cut = flow.texts, flow.tokens, flow.cut
            took = wire.metadata(stream.chars, tally.tokens, began, stream.timings)
            return wire.rerank_response(stream.log_odds, stream.shown, took, raw=stream.raw)


def _chars(request: pb.RerankStreamRequest) -> int:
    return len(request.query) + len(request.text)
