"""Every RPC of a replica answers as that of a server of its own does."""

from __future__ import annotations

import math
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2

from qwire.failures import read_failure
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2 as rank_pb
from qwire_server.cluster.methods import RPCS
from qwire_server.pb.tei.v1 import tei_pb2 as tei
from support.machine_speed import hang_limit

TEXT = "The capital of China is Beijing."
LONG = "word " * 600
# What each RPC is asked: calls, each of its messages.
ASKED: dict[str, list[list[Any]]] = {
    "qwire.v1.Embedding/Describe": [[pb.DescribeRequest()]],
    "qwire.v1.Embedding/Embed": [
        [pb.EmbedRequest(texts=[TEXT, "退款需要几天？"])],
        [pb.EmbedRequest(texts=[TEXT], options=pb.EmbedOptions(input_type="INPUT_TYPE_QUERY"))],
        [pb.EmbedRequest(texts=[TEXT], options=pb.EmbedOptions(model="another"))],
        [pb.EmbedRequest(texts=[TEXT], options=pb.EmbedOptions(dimensions=1))],
        [pb.EmbedRequest(texts=[TEXT], options=pb.EmbedOptions(expected_fingerprint="x"))],
        [pb.EmbedRequest(texts=[TEXT, LONG], options=pb.EmbedOptions(truncate="TRUNCATE_NONE"))],
        [pb.EmbedRequest(texts=["x" * 300_000])],
        [pb.EmbedRequest(texts=["x"] * 1025)],
    ],
    "qwire.v1.Embedding/EmbedStream": [
        [pb.EmbedStreamRequest(ids=[7], texts=[TEXT])],
        [pb.EmbedStreamRequest(ids=[7], texts=["x" * 300_000])],
        [pb.EmbedStreamRequest(ids=[1, 2], texts=[TEXT])],
        [],
    ],
    "qwire.v1.Embedding/CountTokens": [[pb.CountTokensRequest(texts=[TEXT, LONG])]],
    "qwire.v1.Embedding/Stats": [[pb.StatsRequest()]],
    "qwire.v1.Reranking/Rerank": [
        [rank_pb.RerankRequest(query="capital", documents=[TEXT, "42"], top_n=1)],
        [rank_pb.RerankRequest(query=LONG, documents=[TEXT])],
    ],
    "qwire.v1.Reranking/RerankStream": [
        [rank_pb.RerankStreamRequest(query="capital", ids=[3], documents=[TEXT])],
        [rank_pb.RerankStreamRequest(ids=[3], documents=[TEXT])],
    ],
    "tei.v1.Info/Info": [[tei.InfoRequest()]],
    "tei.v1.Embed/Embed": [
        [tei.EmbedRequest(inputs=TEXT)],
        [tei.EmbedRequest(inputs="")],
        [tei.EmbedRequest(inputs=LONG)],
    ],
    "tei.v1.Embed/EmbedStream": [
        [tei.EmbedRequest(inputs=TEXT), tei.EmbedRequest(inputs="42")],
        [tei.EmbedRequest(inputs=TEXT), tei.EmbedRequest(inputs="")],
    ],
    "tei.v1.Embed/EmbedSparse": [[tei.EmbedSparseRequest(inputs=TEXT)]],
    "tei.v1.Embed/EmbedSparseStream": [[tei.EmbedSparseRequest(inputs=TEXT)]],
    "tei.v1.Embed/EmbedAll": [[tei.EmbedAllRequest(inputs=TEXT)]],
    "tei.v1.Embed/EmbedAllStream": [[tei.EmbedAllRequest(inputs=TEXT)]],
    "tei.v1.Predict/Predict": [[tei.PredictRequest(inputs=TEXT)]],
    "tei.v1.Predict/PredictPair": [[tei.PredictPairRequest(inputs=[TEXT, "42"])]],
    "tei.v1.Predict/PredictStream": [[tei.PredictRequest(inputs=TEXT)]],
    "tei.v1.Predict/PredictPairStream": [[tei.PredictPairRequest(inputs=[TEXT, "42"])]],
    "tei.v1.Rerank/Rerank": [[tei.RerankRequest(query="capital", texts=[TEXT, "42"])]],
    "tei.v1.Rerank/RerankStream": [
        [tei.RerankStreamRequest(query="capital", text=text) for text in (TEXT, "42")],
    ],
    "tei.v1.Tokenize/Tokenize": [[tei.EncodeRequest(inputs=TEXT)]],
    "tei.v1.Tokenize/TokenizeStream": [[tei.EncodeRequest(inputs=TEXT)]],
    "tei.v1.Tokenize/Decode": [[tei.DecodeRequest(ids=[20, 21])]],
    "tei.v1.Tokenize/DecodeStream": [[tei.DecodeRequest(ids=[20, 21])]],
    "grpc.health.v1.Health/Check": [
        [health_pb2.HealthCheckRequest()],
        [health_pb2.HealthCheckRequest(service="qwire.v1.Reranking")],
        [health_pb2.HealthCheckRequest(service="tei.v1.Predict")],
        [health_pb2.HealthCheckRequest(service="another")],
    ],
}
# Times, and what is counted since the start.
_DIFFERS = {"metadata", "uptimeSeconds", "calls", "failures", "texts", "tokens", "batches"}
_DIFFERS |= {"batchFill", "busySeconds", "starvedSeconds", "costAccuracy", "bulkTokens", "books"}
_DIFFERS |= {"savedTokens"}
_BY_PATH = {f"{rpc.service}/{rpc.method}": rpc for rpc in RPCS}


def test_every_rpc_has_a_name_of_its_own():
    """Ray knows no more of a call than the last part of its path."""
    assert len({rpc.name for rpc in RPCS}) == len(RPCS) > 20


def test_every_rpc_is_asked_here():
    """But for the watch, which never ends, and a method of newer stubs that our server lacks."""
    others = {"grpc.health.v1.Health/Watch", "grpc.health.v1.Health/List"}
    assert set(_BY_PATH) - others == set(ASKED)


@pytest.mark.parametrize(
    ("path", "number"),
    [(path, number) for path, calls in ASKED.items() for number in range(len(calls))],
)
def test_a_replica_answers_as_a_server_does(cluster, qwen_server, path, number):
    messages = ASKED[path][number]
    theirs, ours = outcome(qwen_server, path, messages), outcome(cluster.target, path, messages)
    assert theirs[0] == ours[0]
    same(theirs[1], ours[1])


@pytest.mark.parametrize(
    ("path", "number"),
    [(path, len(calls) - 1) for path, calls in ASKED.items() if _BY_PATH[path].requests_stream]
    + [("qwire.v1.Embedding/EmbedStream", 2), ("qwire.v1.Embedding/Embed", 2)],
)
def test_so_it_does_through_rays_own_proxy(cluster, qwen_server, path, number):
    """Which takes calls while no replica is up; trailers of a stream are words of its message."""
    messages = ASKED[path][number]
    theirs, ours = outcome(qwen_server, path, messages), outcome(cluster.fallback, path, messages)
    assert theirs[0][:2] == ours[0][:2]
    same(theirs[1], ours[1])


def test_health_is_watched(cluster):
    with grpc.insecure_channel(cluster.target) as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


def outcome(target: str, path: str, messages: list[Any]) -> tuple[Any, list[Any]]:
    """How a call ends, and its replies."""
    rpc = _BY_PATH[path]
    kinds = {(False, False): "unary_unary", (False, True): "unary_stream"}
    kinds |= {(True, False): "stream_unary", (True, True): "stream_stream"}
    with grpc.insecure_channel(target) as channel:
        call = getattr(channel, kinds[rpc.requests_stream, rpc.replies_stream])(
            f"/{path}",
            request_serializer=rpc.request.SerializeToString,
            response_deserializer=rpc.reply.FromString,
        )
        replies: list[Any] = []
        try:
            answer = call(
                iter(messages) if rpc.requests_stream else messages[0], timeout=hang_limit(60)
            )
            for reply in answer if rpc.replies_stream else [answer]:
                replies.append(facts(reply))  # noqa: PERF401  those before an error count
        except grpc.RpcError as error:
            failure = read_failure(error)
            return (failure.status, failure.code, failure.details, failure.index), replies
    return ("OK", None, "", None), replies


def facts(message: Any) -> Any:
    """A message as plain data, without what differs from run to run."""
    told = MessageToDict(message)
    if isinstance(message, (pb.EmbedResponse, pb.EmbedStreamResponse)) and message.vectors.rows:
        told["vectors"]["data"] = np.frombuffer(message.vectors.data, "<f4").tolist()
    return {key: value for key, value in told.items() if key not in _DIFFERS}


def same(one: Any, other: Any) -> None:
    """Equal, but for the last bits of numbers: replicas have other numbers of threads."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            same(value, other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            same(left, right)
    elif isinstance(one, float):
        assert math.isclose(one, other, abs_tol=1e-5)
    else:
        assert one == other
