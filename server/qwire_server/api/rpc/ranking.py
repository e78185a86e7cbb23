"""The methods of `qwire.v1.Reranking`: unpack, call the reranker, pack. No policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire.v1 import rerank_pb2 as rank_pb
from qwire.v1 import rerank_pb2_grpc as rank_grpc
from qwire_server.api.flow import Flow, Notice
from qwire_server.api.reranker import RankOptions
from qwire_server.api.rpc import rank_wire
from qwire_server.api.rpc.stream import check_ids, serve_stream
from qwire_server.engine.work import RequestClass
from qwire_server.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qwire_server.api.call import Call
    from qwire_server.api.chunk import Answer
    from qwire_server.api.gate import Gate
    from qwire_server.api.reranker import Reranker
    from qwire_server.api.rpc.guard import Context, Guard
    from qwire_server.api.rpc.rules import StreamRules
    from qwire_server.api.served import Plan


class RerankingService(rank_grpc.RerankingServicer):
    """One instance for each server."""

    def __init__(self, gate: Gate, guard: Guard, rules: StreamRules) -> None:
        self._gate = gate
        self._guard = guard
        self._rules = rules

    async def Rerank(
        self, request: rank_pb.RerankRequest, context: Context
    ) -> rank_pb.RerankResponse:
        """Many documents, all or nothing."""
        async with self._guard.call("Rerank", context, RequestClass.INTERACTIVE) as (call, tally):
            reranker = self._gate.reranker()
            options = rank_wire.rank_options_from(request.options)
            tally.texts = len(request.documents)
            reranker.served.check_count(tally.texts)
            documents = list(request.documents)
            ranking = await reranker.rerank(call, request.query, documents, options)
            tally.tokens, tally.cut = sum(ranking.tokens), sum(ranking.cut)
            return rank_wire.rerank_response(request, ranking, reranker.served)

    async def RerankStream(
        self,
        request_iterator: AsyncIterator[rank_pb.RerankStreamRequest],
        context: Context,
    ) -> None:
        """Any number of documents, answered as they are ready."""
        async with self._guard.call("RerankStream", context, RequestClass.BULK) as (call, tally):
            reranker = self._gate.reranker()
            flow = Flow(reranker.embedder, call)
            dialect = RankDialect(reranker, call, flow)
            try:
                async with reranker.embedder.room.stream(call.client):
                    await serve_stream(context, flow, self._gate, self._rules, dialect)
            finally:
                tally.texts, tally.tokens, tally.cut = flow.texts, flow.tokens, flow.cut


class RankDialect:
    """`RerankStream`: the first message brings the query and the options for all."""

    def __init__(self, reranker: Reranker, call: Call, flow: Flow) -> None:
        self._reranker = reranker
        self._call = call
        self._flow = flow
        self._options = RankOptions()
        self._plan: Plan | None = None

    async def take(self, message: rank_pb.RerankStreamRequest) -> None:
        """Put the documents of one message into the flow.

        Raises:
            RequestError: it is not understood.
        """
        check_ids(message.ids, message.documents)
        if self._plan is None:
            self._plan = self._begin(message)
        elif message.HasField("query") or message.HasField("options"):
            raise InvalidRequest(
                "query and options belong to the first message: open a stream for each query"
            )
        await self._flow.feed(message.ids, message.documents, self._plan)

    def response(self, ready: Answer | Notice) -> rank_pb.RerankStreamResponse:
        """The message that tells what is ready."""
        if isinstance(ready, Notice):
            return rank_wire.rank_notice(ready)
        return rank_wire.rank_stream_response(ready, self._options)

    def _begin(self, message: rank_pb.RerankStreamRequest) -> Plan:
        if not message.HasField("query"):
            raise InvalidRequest("the first message of a stream has no query")
        self._options = rank_wire.rank_options_from(message.options)
        return self._reranker.plan(self._call, message.query, self._options)
