"""Every RPC, under a name that Ray can tell from the others. Knows no Ray, no model.

Ray sends a call to the method of a deployment that is called as the last part of its path, and
three services have an `Embed` or a `Rerank`. So each RPC gets a name that holds its service's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2 as rank_pb
from qwire_server.pb.tei.v1 import tei_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

_FILES = (pb, rank_pb, tei_pb2, health_pb2)
_KINDS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC.

    Attributes:
        service: its full name.
        method: as clients call it.
        requests_stream: whether the client may send more than one message.
        replies_stream: whether the server may.
    """

    service: str
    method: str
    request: type[Message]
    reply: type[Message]
    requests_stream: bool
    replies_stream: bool

    @property
    def name(self) -> str:
        """The deployment's method, such as `tei_v1_Embed_EmbedStream`."""
        return f"{self.service.replace('.', '_')}_{self.method}"


def _rpcs() -> tuple[Rpc, ...]:
    services = [s for file in _FILES for s in file.DESCRIPTOR.services_by_name.values()]
    return tuple(
        Rpc(
            service=service.full_name,
            method=method.name,
            request=GetMessageClass(method.input_type),
            reply=GetMessageClass(method.output_type),
            requests_stream=method.client_streaming,
            replies_stream=method.server_streaming,
        )
        for service in services
        for method in service.methods
    )


RPCS = _rpcs()


def add_services_to_server(_: object, server: grpc.aio.Server) -> None:
    """What Ray's gRPC servers call when they start: `gRPCOptions.grpc_servicer_functions`."""
    server.add_generic_rpc_handlers((_Renamed(),))


class _Renamed(grpc.GenericRpcHandler):
    """Finds the handler of a path.

    Ray takes the handlers out of `_method_handlers`, as grpc's own class has them, and puts others
    in their place that send each call to a replica, by the name in the key.
    """

    def __init__(self) -> None:
        self._method_handlers: dict[str, Any] = {_key(rpc): _handler(rpc) for rpc in RPCS}
        self._keys = {f"/{rpc.service}/{rpc.method}": _key(rpc) for rpc in RPCS}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler, None if there is no such RPC."""
        return self._method_handlers.get(self._keys.get(handler_call_details.method, ""))


def _key(rpc: Rpc) -> str:
    return f"/{rpc.service}/{rpc.name}"


def _handler(rpc: Rpc) -> Any:
    kind = _KINDS[rpc.requests_stream, rpc.replies_stream]
    return kind(
        _unreachable,
        request_deserializer=rpc.request.FromString,
        response_serializer=rpc.reply.SerializeToString,
    )


def _unreachable(*_: object) -> None:
    raise AssertionError("Ray did not put its own handler in place of this one")
