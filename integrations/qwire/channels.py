"""How to open a channel, and a `Link`: a channel with what is in flight on it.

Everything that gRPC leaves untyped is cast here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from qwire._version import __version__
from qwire.balancing import balancing_options, grpc_target
from qwire.certificates import read_certificate, read_key
from qwire.split import RECEIVE_BYTES, SEND_BYTES
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2 as rank_pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qwire.config import Config


class Method(NamedTuple):
    """A remote method: its path, how to write a request, how to read a reply."""

    path: str
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]


EMBED = Method(
    "/qwire.v1.Embedding/Embed",
    pb.EmbedRequest.SerializeToString,
    pb.EmbedResponse.FromString,
)
EMBED_STREAM = Method(
    "/qwire.v1.Embedding/EmbedStream",
    pb.EmbedStreamRequest.SerializeToString,
    pb.EmbedStreamResponse.FromString,
)
COUNT_TOKENS = Method(
    "/qwire.v1.Embedding/CountTokens",
    pb.CountTokensRequest.SerializeToString,
    pb.CountTokensResponse.FromString,
)
RERANK = Method(
    "/qwire.v1.Reranking/Rerank",
    rank_pb.RerankRequest.SerializeToString,
    rank_pb.RerankResponse.FromString,
)
RERANK_STREAM = Method(
    "/qwire.v1.Reranking/RerankStream",
    rank_pb.RerankStreamRequest.SerializeToString,
    rank_pb.RerankStreamResponse.FromString,
)
DESCRIBE = Method(
    "/qwire.v1.Embedding/Describe",
    pb.DescribeRequest.SerializeToString,
    pb.DescribeResponse.FromString,
)
STATS = Method(
    "/qwire.v1.Embedding/Stats",
    pb.StatsRequest.SerializeToString,
    pb.StatsResponse.FromString,
)
# grpc.health.v1 by hand, because its package pins protobuf more narrowly than a client may.
# HealthCheckRequest of no service is no bytes; HealthCheckResponse of SERVING is field 1 = 1.
HEALTH = Method("/grpc.health.v1.Health/Check", bytes, bytes)
SERVING = b"\x08\x01"


class Link:
    """One channel, its methods, and the calls in flight on it (adding to a set is atomic)."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.calls: set[Any] = set()
        self._methods: dict[str, Any] = {}

    def unary(self, method: Method) -> Any:
        """The callable of a method with one request and one reply."""
        found = self._methods.get(method.path)
        if found is None:
            found = self.channel.unary_unary(method.path, method.write, method.read)
            self._methods[method.path] = found
        return found

    def stream(self, method: Method) -> Any:
        """The callable of a method that streams both ways."""
        return self.channel.stream_stream(method.path, method.write, method.read)


def open_channel(config: Config, transport: Any = grpc) -> Any:
    """Make a channel; it connects at its first call.

    Args:
        config: of the client.
        transport: `grpc`, or `grpc.aio` for a channel of the running loop.

    Raises:
        InvalidRequestError: a certificate or a key cannot be read.
        ConnectionFailedError: no host of a list can be found.
    """
    options, target = channel_options(config), grpc_target(config.address)
    if not config.address.tls:
        return transport.insecure_channel(target, options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read_certificate("ca_cert", config.ca_cert),
        private_key=read_key("client_key", config.client_key),
        certificate_chain=read_certificate("client_cert", config.client_cert),
    )
    return transport.secure_channel(target, credentials, options)


def channel_options(config: Config) -> list[tuple[str, Any]]:
    """GRPC's options; the caller's own replace ours."""
    prefix = f"{config.user_agent} " if config.user_agent else ""
    options: dict[str, Any] = {
        "grpc.primary_user_agent": f"{prefix}qwire-python/{__version__}",
        "grpc.max_send_message_length": SEND_BYTES,
        "grpc.max_receive_message_length": RECEIVE_BYTES,
        # Ours is the one retry layer; gRPC's skips requests over 256 KiB without a word.
        "grpc.enable_retries": 0,
        # While a server restarts, gRPC fails calls at once between its own attempts to connect.
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 1000,
        # Or a new channel would share the connection, dead or not, of an older one.
        "grpc.use_local_subchannel_pool": 1,
    }
    if config.address.several:
        options |= balancing_options()
    if config.address.loopback:
        # A proxy in the environment would be asked for localhost too, and not find it.
        options["grpc.enable_http_proxy"] = 0
    if config.server_name:
        options["grpc.ssl_target_name_override"] = config.server_name
    return list({**options, **dict(config.channel_options)}.items())


def in_flight(links: Iterable[Link]) -> int:
    """Calls under way on all of them."""
    return sum(len(link.calls) for link in links)
