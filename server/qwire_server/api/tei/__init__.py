"""The second gRPC front: `tei.v1`, for clients of text-embeddings-inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.api.tei.embed import EmbedService, PredictService
from qwire_server.api.tei.rerank import RerankService
from qwire_server.api.tei.text import InfoService, TokenizeService
from qwire_server.pb.tei.v1 import tei_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Guard
    from qwire_server.api.rpc.rules import StreamRules


def add_services(server: grpc.aio.Server, gate: Gate, guard: Guard, rules: StreamRules) -> None:
    """Answer `tei.v1` on a server's port, whatever model it has."""
    pb_grpc.add_InfoServicer_to_server(InfoService(gate, guard), server)
    pb_grpc.add_EmbedServicer_to_server(EmbedService(gate, guard, rules), server)
    pb_grpc.add_PredictServicer_to_server(PredictService(gate, guard, rules), server)
    pb_grpc.add_RerankServicer_to_server(RerankService(gate, guard), server)
    pb_grpc.add_TokenizeServicer_to_server(TokenizeService(gate, guard, rules), server)
