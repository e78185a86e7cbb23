"""The gRPC port: its options, its services, its address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from qwire.v1 import rerank_pb2 as rank_pb
from qwire.v1 import rerank_pb2_grpc as rank_grpc
from qwire_server.api import tei
from qwire_server.api.bind import address_of, bind_error, find_error
from qwire_server.api.rpc import core
from qwire_server.api.rpc.health import HealthService
from qwire_server.api.rpc.ranking import RerankingService
from qwire_server.api.rpc.reflection import add_reflection
from qwire_server.api.rpc.service import EmbeddingService
from qwire_server.pb.tei.v1 import tei_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Guard
    from qwire_server.api.rpc.rules import StreamRules
    from qwire_server.security.certificate import Certificate
    from qwire_server.security.tls import Tls


async def listen(
    host: str,
    port: int,
    gate: Gate,
    guard: Guard,
    *,
    rules: StreamRules,
    options: Sequence[tuple[str, int]],
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    tls: Tls | None = None,
    with_reflection: bool = True,
) -> tuple[grpc.aio.Server, int]:
    """Bind, and answer from now on; calls are refused until the gate opens.

    Args:
        host: address.
        port: 0 takes a free one.
        gate: to the models.
        guard: around each call.
        rules: of streams.
        options: of gRPC, see `server_options`.
        interceptors: of calls, the first of them first.
        tls: of the port; None for none.
        with_reflection: whether clients are told what services there are.

    Returns:
        The server, and the port that it listens on.

    Raises:
        StartError: the port is taken, or the address is not this machine's.
    """
    server = core.server(options=options, interceptors=interceptors)
    pb_grpc.add_EmbeddingServicer_to_server(EmbeddingService(gate, guard, rules), server)
    rank_grpc.add_RerankingServicer_to_server(RerankingService(gate, guard, rules), server)
    tei.add_services(server, gate, guard, rules)
    health_pb2_grpc.add_HealthServicer_to_server(HealthService(gate), server)
    if with_reflection:
        files = (pb, rank_pb, tei_pb2, health_pb2)
        names = [s.full_name for f in files for s in f.DESCRIPTOR.services_by_name.values()]
        add_reflection(server, guard, names)
    address = address_of(host, port)
    try:
        if tls:
            bound = server.add_secure_port(address, _credentials(tls))
        else:
            bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise bind_error(
            host, port, find_error(host, port), "--grpc-port (0 takes a free one)"
        ) from error
    await server.start()
    return server, bound


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Asked before each handshake; gRPC takes TLS 1.2 at least, and has no setting for it."""
    presented = tls.current()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal presented
        now = tls.current()
        if now is presented:
            return None
        presented = now
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(presented),
        renewed,  # type: ignore[arg-type]  # its types forget None, which is "as before"
        tls.wants_client_certificates,
    )


def _configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(certificate.key, certificate.chain)], certificate.client_ca
    )
