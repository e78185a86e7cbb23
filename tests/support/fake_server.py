"""A small working server of the contract, for tests of clients.

Its vector for a text is a function of the text's bytes, so that every answer can be checked. It
runs in a thread with an event loop of its own. Knows no model; can be told to misbehave.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
import time
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass, field

import grpc
import grpc.aio
import numpy as np

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc, rerank_pb2_grpc
from qwire.v1 import rerank_pb2 as rank_pb
from support.machine_speed import hang_limit

FINGERPRINT = "fake-1"
SELF_CHECK = pb.SelfCheck(lowest_cosine=1, texts=3, dtype="float32")
MODEL = "fake/model"
RANKER = "fake/ranker"


def unit_vector(text: str, dim: int) -> np.ndarray:
    """float32 (dim,) of length 1 that depends on the text alone."""
    digest = hashlib.shake_128(text.encode()).digest(dim)
    values = np.frombuffer(digest, np.uint8).astype(np.float32) - 127.5
    return values / np.linalg.norm(values)


def unit_vectors(texts, dim: int) -> np.ndarray:
    """float32 (n, dim)."""
    return np.stack([unit_vector(text, dim) for text in texts])


def log_odds_of(query: str, document: str) -> float:
    """A raw score between -5 and 5 that depends on both texts alone; some of them tie.

    A document that is a number is its own raw score.
    """
    with suppress(ValueError):
        return float(document)
    digest = hashlib.sha256(f"{query}\0{document}".encode()).digest()
    return digest[0] % 100 / 10 - 5


def score_of(query: str, document: str) -> float:
    """The same as a probability."""
    raw = log_odds_of(query, document)
    return 1 / (1 + math.exp(-raw)) if raw >= 0 else math.exp(raw) / (1 + math.exp(raw))


@dataclass
class Refusal:
    """How a call ends instead of with an answer; `code` None leaves out the server's trailers."""

    status: grpc.StatusCode
    code: str | None = None
    message: str = "refused by the test"
    index: int | None = None
    retry_after_ms: int = 0
    pushback: bool = False  # the hint in gRPC's own trailer, not in the detail

    def trailers(self) -> tuple:
        if self.code is None:
            return ()
        code = pb.ErrorCode.Value(self.code)
        detail = pb.ErrorDetail(
            code=code,
            retry_after_ms=0 if self.pushback else self.retry_after_ms,
            request_id="from-server",
        )
        if self.index is not None:
            detail.index = self.index
        status = pb.Status(code=self.status.value[0], message=self.message)
        status.details.add().Pack(detail)
        trailers = [
            ("qwire-error-code", self.code),
            ("grpc-status-details-bin", status.SerializeToString()),
        ]
        if self.pushback:
            trailers.append(("grpc-retry-pushback-ms", str(self.retry_after_ms)))
        return tuple(trailers)


UNAVAILABLE = Refusal(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "the model is loading")


@dataclass
class Gate:
    """Holds every request that contains a text until it is opened."""

    loop: asyncio.AbstractEventLoop
    arrived: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self) -> None:
        self.loop.call_soon_threadsafe(self._open.set)

    async def wait(self) -> None:
        self.arrived.set()
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@dataclass
class Seen:
    """One call as the server saw it; `seconds` is what was left until its deadline."""

    method: str
    request: object
    metadata: dict
    seconds: float | None


class FakeServer(embedding_pb2_grpc.EmbeddingServicer, rerank_pb2_grpc.RerankingServicer):
    """Use in `with`. What tests set: the public attributes below."""

    def __init__(
        self, port: int = 0, dim: int = 16, tls: tuple | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.dim = dim
        self.fingerprint = FINGERPRINT
        self.limits = pb.Limits(texts_per_request=256, bytes_per_message=1 << 20)
        self.serving = True
        self.watched = 0  # open watches of its health
        self.leaving = False  # watches are to end
        self.seen: list[Seen] = []
        self.refusals: defaultdict[str, deque[Refusal]] = defaultdict(deque)  # by method
        self.refused_texts: dict[str, Refusal] = {}
        self.rewrite = None  # (EmbedResponse) -> None, a chance to lie
        self.stream = self.answer_each  # (requests, context) -> async generator of replies
        self.rank_stream = self.score_each
        self.stream_over = threading.Event()
        self.in_flight = self.most_in_flight = 0  # unary
        self._gates: dict[str, Gate] = {}
        self._host = host
        self._port = port
        self._tls = tls  # key and certificate, PEM
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    # -- life

    def __enter__(self):
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *exc_info):
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def target(self) -> str:
        return f"localhost:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    def hold(self, text: str) -> Gate:
        """Hold requests that contain `text`."""
        gate = self._gates[text] = Gate(self._loop)
        return gate

    def count(self, method: str) -> int:
        return sum(seen.method == method for seen in self.seen)

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(hang_limit(10))

    async def _start(self):
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", 16 << 20),
            ("grpc.max_send_message_length", -1),
        ]
        self._server = grpc.aio.server(options=options)
        embedding_pb2_grpc.add_EmbeddingServicer_to_server(self, self._server)
        rerank_pb2_grpc.add_RerankingServicer_to_server(self, self._server)
        self._server.add_generic_rpc_handlers((self.health(),))
        address = f"{self._host}:{self._port}"
        if self._tls is None:
            self._port = self._server.add_insecure_port(address)
        else:
            credentials = grpc.ssl_server_credentials([self._tls])
            self._port = self._server.add_secure_port(address, credentials)
        await self._server.start()

    async def _stop(self):
        await self._server.stop(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:  # handlers whose callers are gone
            task.cancel()
        await asyncio.wait(others, timeout=1) if others else None

    def health(self):
        """The handlers of `grpc.health.v1`: bytes in, bytes out."""
        check = grpc.unary_unary_rpc_method_handler(self._check)
        watch = grpc.unary_stream_rpc_method_handler(self._watch)
        methods = {"Check": check, "Watch": watch}
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods)

    async def _check(self, request, context):
        return b"\x08\x01" if self.serving else b"\x08\x02"

    async def _watch(self, request, context):
        self.watched += 1
        told = None
        try:
            while not self.leaving:
                if self.serving != told:
                    told = self.serving
                    yield await self._check(request, context)
                await asyncio.sleep(0.005)
            yield b"\x08\x02"
        finally:
            self.watched -= 1

    # -- methods

    async def Describe(self, request, context):  # noqa: N802
        await self._admit("Describe", request, context)
        return pb.DescribeResponse(
            model=MODEL,
            revision="r1",
            fingerprint=self.fingerprint,
            server_version="0",
            languages=["en", "zh"],
            dimensions=pb.Dimensions(native=self.dim, smallest=2),
            max_tokens=512,
            pooling="last",
            prompts=pb.Prompts(query="q: ", document="", template="{instruction}: "),
            device="cpu",
            dtype="float32",
            limits=self.limits,
            reranker=pb.RerankerInfo(
                model="fake-reranker", fingerprint="rank-1", self_check=SELF_CHECK
            ),
            self_check=SELF_CHECK,
        )

    async def Embed(self, request, context):  # noqa: N802
        await self._admit("Embed", request, context)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._meet_texts(request.texts, context)
        finally:
            self.in_flight -= 1
        reply = pb.EmbedResponse(
            vectors=self.vectors(request.texts, request.options),
            usage=self.usage(request.texts),
            model=MODEL,
            fingerprint=self.fingerprint,
        )
        if self.rewrite is not None:
            self.rewrite(reply)
        return reply

    async def EmbedStream(self, request_iterator, context):  # noqa: N802
        await self._admit("EmbedStream", None, context)
        try:
            async for reply in self.stream(request_iterator, context):
                yield reply
        finally:
            self.stream_over.set()

    async def CountTokens(self, request, context):  # noqa: N802
        await self._admit("CountTokens", request, context)
        usage = self.usage(request.texts)
        return pb.CountTokensResponse(tokens=usage.tokens, unknown=usage.unknown)

    async def Rerank(self, request, context):  # noqa: N802
        await self._admit("Rerank", request, context)
        await self._meet_texts(request.documents, context)
        score = log_odds_of if request.options.raw_scores else score_of
        scores = [score(request.query, document) for document in request.documents]
        usage = self.usage(request.documents)
        reply = rank_pb.RerankResponse(
            results=[
                rank_pb.RankedDocument(index=i, score=scores[i])
                for i in sorted(range(len(scores)), key=lambda i: -scores[i])
            ],
            usage=pb.TextUsage(tokens=usage.tokens, cut=usage.cut),
            model=RANKER,
            fingerprint=self.fingerprint,
        )
        if self.rewrite is not None:
            self.rewrite(reply)
        return reply

    async def RerankStream(self, request_iterator, context):  # noqa: N802
        await self._admit("RerankStream", None, context)
        async for reply in self.rank_stream(request_iterator, context):
            yield reply

    async def _admit(self, method, request, context):
        metadata = dict(context.invocation_metadata())
        self.seen.append(Seen(method, request, metadata, context.time_remaining()))
        if self.refusals[method]:
            await self.refuse(context, self.refusals[method].popleft())

    async def _meet_texts(self, texts, context):
        for index, text in enumerate(texts):
            if text in self._gates:
                await self._gates[text].wait()
            if text in self.refused_texts:
                refusal = self.refused_texts[text]
                refusal.index = index
                await self.refuse(context, refusal)

    async def refuse(self, context, refusal: Refusal):
        """End the call."""
        await context.abort(refusal.status, refusal.message, refusal.trailers())

    # -- answers

    def vectors(self, texts, options) -> pb.Vectors:
        """What a true server would send, in the encoding asked for."""
        dim = options.dimensions or self.dim
        rows = unit_vectors(texts, dim) if texts else np.zeros((0, dim), np.float32)
        encoding = options.encoding or pb.ENCODING_FLOAT32
        vectors = pb.Vectors(rows=len(rows), dim=dim, encoding=encoding)
        if encoding == pb.ENCODING_FLOAT16:
            vectors.data = rows.astype("<f2").tobytes()
        elif encoding == pb.ENCODING_INT8:
            scales = np.abs(rows).max(axis=1, initial=0) / 127
            vectors.data = np.rint(rows / scales[:, None]).astype(np.int8).tobytes()
            vectors.scales = scales.astype("<f4").tobytes()
        elif encoding == pb.ENCODING_BINARY:
            vectors.data = np.packbits(rows > 0, axis=1).tobytes()
        else:
            vectors.data = rows.astype("<f4").tobytes()
        return vectors

    def usage(self, texts) -> pb.TextUsage:
        """Its tokens are characters; it cuts the x's and does not know the z's."""
        return pb.TextUsage(
            tokens=[len(text) for text in texts],
            cut=[text.count("x") for text in texts],
            unknown=[text.count("z") for text in texts],
        )

    def answer(self, ids, texts, options=None) -> pb.EmbedStreamResponse:
        """A stream's reply; a text that is refused becomes an error of its own."""
        good = [(i, t) for i, t in zip(ids, texts, strict=True) if t not in self.refused_texts]
        bad = [(i, t) for i, t in zip(ids, texts, strict=True) if t in self.refused_texts]
        reply = pb.EmbedStreamResponse(model=MODEL, fingerprint=self.fingerprint)
        if good:
            reply.ids.extend(i for i, _ in good)
            reply.vectors.CopyFrom(self.vectors([t for _, t in good], options or pb.EmbedOptions()))
            reply.usage.CopyFrom(self.usage([t for _, t in good]))
        for i, text in bad:
            refusal = self.refused_texts[text]
            code = pb.ErrorCode.Value(refusal.code)
            reply.errors.add(id=i, code=code, message=refusal.message)
        return reply

    async def answer_each(self, requests, context):
        """Answer each chunk as it comes."""
        options = None
        async for request in requests:
            options = request.options if request.HasField("options") else options
            yield self.answer(request.ids, request.texts, options)

    async def score_each(self, requests, context):
        """Score each chunk as it comes."""
        query, score = None, score_of
        async for request in requests:
            query = request.query if request.HasField("query") else query
            score = log_odds_of if request.options.raw_scores else score
            pairs = list(zip(request.ids, request.documents, strict=True))
            good = [(i, d) for i, d in pairs if d not in self.refused_texts]
            usage = self.usage([document for _, document in good])
            reply = rank_pb.RerankStreamResponse(
                ids=[i for i, _ in good],
                scores=[score(query, document) for _, document in good],
                usage=pb.TextUsage(tokens=usage.tokens, cut=usage.cut),
                model=RANKER,
                fingerprint=self.fingerprint,
            )
            for i, document in pairs:
                if document in self.refused_texts:
                    code = pb.ErrorCode.Value(self.refused_texts[document].code)
                    reply.errors.add(id=i, code=code, message=self.refused_texts[document].message)
            yield reply


def wait_until(condition, seconds: float = 5.0) -> None:
    """Wait for what no event announces, such as gRPC's own threads; AssertionError in the end."""
    deadline = time.monotonic() + hang_limit(seconds)
    while not condition():
        assert time.monotonic() < deadline, "this did not become true in time"
        threading.Event().wait(0.005)
