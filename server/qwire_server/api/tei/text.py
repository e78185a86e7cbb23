"""The methods of `tei.v1.Tokenize` and of `tei.v1.Info`: unpack, call the tokeniser, pack."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qwire_server.api.rpc.writer import Writer
from qwire_server.api.tei import wire
from qwire_server.api.tei.calls import guarded, guarded_stream
from qwire_server.api.tei.ending import Ending
from qwire_server.api.tei.in_order import serve_in_order
from qwire_server.api.vocabulary import Vocabulary
from qwire_server.engine.work import RequestClass
from qwire_server.pb.tei.v1 import tei_pb2 as pb
from qwire_server.pb.tei.v1 import tei_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from qwire_server.api.call import Call
    from qwire_server.api.embedder import Embedder
    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Context, Guard
    from qwire_server.api.rpc.rules import StreamRules


class InfoService(pb_grpc.InfoServicer):
    """One instance for each server."""

    def __init__(self, gate: Gate, guard: Guard) -> None:
        self._gate = gate
        self._guard = guard

    async def Info(self, request: pb.InfoRequest, context: Context) -> pb.InfoResponse:
        """What runs here."""
        async with guarded(self._guard, "Info", context, RequestClass.INTERACTIVE):
            embedder, is_reranker = _any(self._gate)
            threads = embedder.pool.threads
            return wire.info_response(embedder.served, threads, is_reranker=is_reranker)


class TokenizeService(pb_grpc.TokenizeServicer):
    """One instance for each server; the embedding model's tokeniser, where there is one."""

    def __init__(self, gate: Gate, guard: Guard, rules: StreamRules) -> None:
        self._gate = gate
        self._guard = guard
        self._rules = rules

    async def Tokenize(self, request: pb.EncodeRequest, context: Context) -> pb.EncodeResponse:
        """Tokens of one text."""
        async with guarded(self._guard, "Tokenize", context, RequestClass.INTERACTIVE) as opened:
            call, tally = opened
            tally.texts = 1
            [response] = await self._tokenize(call, [request])
            return response

    async def TokenizeStream(
        self, request_iterator: AsyncIterator[pb.EncodeRequest], context: Context
    ) -> None:
        """Tokens of any number of texts."""
        async with guarded_stream(self._guard, "TokenizeStream", context, _chars) as opened:
            call, tally, arrivals = opened
            key, work = wire.encode_key, partial(self._tokenize, call, patient=True)
            room = self._vocabulary().room
            async with room.stream(call.client):
                writer = Writer(context, room, call.client, self._rules.stalled_seconds)
                ends = Ending(self._gate, arrivals, self._rules)
                await serve_in_order(writer, ends, arrivals, tally, key=key, work=work)

    async def Decode(self, request: pb.DecodeRequest, context: Context) -> pb.DecodeResponse:
        """The text of one row of token ids."""
        async with guarded(self._guard, "Decode", context, RequestClass.INTERACTIVE) as opened:
            call, tally = opened
            tally.texts = 1
            [response] = await self._decode(call, [request])
            return response

    async def DecodeStream(
        self, request_iterator: AsyncIterator[pb.DecodeRequest], context: Context
    ) -> None:
        """The texts of any number of rows of token ids."""
        async with guarded_stream(self._guard, "DecodeStream", context, _ids) as opened:
            call, tally, arrivals = opened
            key, work = wire.decode_key, partial(self._decode, call, patient=True)
            room = self._vocabulary().room
            async with room.stream(call.client):
                writer = Writer(context, room, call.client, self._rules.stalled_seconds)
                ends = Ending(self._gate, arrivals, self._rules)
                await serve_in_order(writer, ends, arrivals, tally, key=key, work=work)

    async def _tokenize(
        self, call: Call, requests: Sequence[pb.EncodeRequest], *, patient: bool = False
    ) -> list[pb.EncodeResponse]:
        vocabulary = self._vocabulary()
        prompt = wire.prompt_of(requests[0], vocabulary.served.prompts)
        for request in requests:
            wire.check_inputs(request.inputs)
        rows = await vocabulary.spell(
            call,
            [request.inputs for request in requests],
            prompt,
            special=requests[0].add_special_tokens,
            pack=wire.encode_bytes,
            patient=patient,
        )
        return [pb.EncodeResponse.FromString(row) for row in rows]

    async def _decode(
        self, call: Call, requests: Sequence[pb.DecodeRequest], *, patient: bool = False
    ) -> list[pb.DecodeResponse]:
        texts = await self._vocabulary().join(
            call,
            [list(request.ids) for request in requests],
            skip_special=requests[0].skip_special_tokens,
            patient=patient,
        )
        return [pb.DecodeResponse(text=text) for text in texts]

    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(_any(self._gate)[0])


def _chars(request: pb.EncodeRequest) -> int:
    return len(request.inputs)


def _ids(request: pb.DecodeRequest) -> int:
    return len(request.ids)


def _any(gate: Gate) -> tuple[Embedder, bool]:
    """The embedding model, else the reranking one; whether it is the latter."""
    embedder, reranker = gate.models()
    if embedder:
        return embedder, False
    assert reranker  # a server that serves has one of the two
    return reranker.embedder, True
