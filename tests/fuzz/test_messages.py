"""Any message, and any bytes, to every method: an answer or a refusal, never an accident."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from qwire.v1 import rerank_pb2
from qwire_server.pb.tei.v1 import tei_pb2
from support.machine_speed import hang_limit
from support.messages import messages
from support.web_front import Front

METHODS = [
    method
    for file in (pb, rerank_pb2, tei_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
FEW = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck)}
LIKELY = {
    "texts": st.one_of(st.text(max_size=40), st.just("a")),
    "ids": st.integers(0, 3),
    "model": st.sampled_from(["", "Fake-Embedding-0.1B"]),
    "expected_fingerprint": st.sampled_from(["", "f1"]),
    "dimensions": st.sampled_from([2, 8]),
}
DRAWN = st.sampled_from(METHODS).flatmap(
    lambda method: st.tuples(
        st.just(method), st.lists(messages(method.input_type, LIKELY), min_size=1, max_size=3)
    )
)
BYTES = st.tuples(st.sampled_from(METHODS), st.lists(st.binary(max_size=200), max_size=3))
METADATA = st.lists(
    st.tuples(
        st.sampled_from(["x-request-id", "authorization", "traceparent", "x-other"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200),
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def channel(web: Front) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(web.grpc) as opened:
        yield opened


def send(channel: grpc.Channel, method: MethodDescriptor, bodies: list[bytes], metadata=()) -> None:
    """Call it with these messages, or the first of them; whatever comes back is read."""
    asks = "stream" if method.client_streaming else "unary"
    tells = "stream" if method.server_streaming else "unary"
    call = getattr(channel, f"{asks}_{tells}")(
        f"/{method.containing_service.full_name}/{method.name}"
    )
    request = iter(bodies) if method.client_streaming else (bodies or [b""])[0]
    try:
        reply = call(request, timeout=hang_limit(10), metadata=metadata)
        list(reply if method.server_streaming else ())
    except grpc.RpcError as error:
        end = error
    else:
        return
    assert end.code() is not grpc.StatusCode.DEADLINE_EXCEEDED, end
    # What is no message never reaches a unary method of ours; gRPC refuses it in its own words.
    assert end.code() is not grpc.StatusCode.UNKNOWN or "DecodeError" in end.details(), end
    assert len(end.details()) <= 1024


def check(web: Front, channel: grpc.Channel) -> None:
    """Nothing failed that should not, and a good call is answered."""
    assert not [record for record in web.observer.requests if record.reason == "INTERNAL"]
    web.observer.requests.clear()
    reply = pb_grpc.EmbeddingStub(channel).Embed(
        pb.EmbedRequest(texts=["after"]), timeout=hang_limit(10)
    )
    assert reply.vectors.rows == 1


@settings(max_examples=80, **FEW)
@given(drawn=DRAWN, metadata=METADATA)
def test_any_message(web: Front, channel: grpc.Channel, drawn, metadata):
    method, sent = drawn
    send(channel, method, [message.SerializeToString() for message in sent], metadata)
    check(web, channel)


@settings(max_examples=40, **FEW)
@given(drawn=BYTES)
def test_any_bytes(web: Front, channel: grpc.Channel, drawn):
    send(channel, *drawn)
    check(web, channel)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=5000, **{**FEW, "derandomize": False})
@given(drawn=st.one_of(DRAWN, BYTES), metadata=METADATA)
def test_far_more_of_the_same(web: Front, channel: grpc.Channel, drawn, metadata):
    method, sent = drawn
    bodies = [one if isinstance(one, bytes) else one.SerializeToString() for one in sent]
    send(channel, method, bodies, metadata)
    check(web, channel)
    assert web.server.open_calls <= 1
