"""What gRPC itself is told about its connections.

Numbers that are no settings were tried out; the reasons are beside them. See
https://grpc.github.io/grpc/core/group__grpc__arg__keys.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.api.served import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from qwire_server.api.rpc.rules import Lifetime

_SECOND = 1000
# A client that is stopped, or behind a dead link, is cut after 15 s. One that holds its
# interpreter's lock, or blocks its event loop, answers pings all the same. A ping waits behind what
# is on its way: at 10 s, a link may have a buffer of ten times its bandwidth, and not more.
_PING_EVERY = 5 * _SECOND
_PING_ANSWERED = 10 * _SECOND
_HANDSHAKE = 10 * _SECOND  # TLS and the first frames; gRPC's own limit is two minutes
_IDLE = 5 * 60 * _SECOND  # without an open call; clients connect again by themselves
_MAX_HEADER_BYTES = 16 * 1024  # of one call, keys and tracing included
# Calls at once on one connection; clients keep the others back. A unary call that is not read
# holds its reply, and that is the only bound on how many.
_CALLS = 1000


def server_options(
    max_connections: int, life: Lifetime, *, share_port: bool = False
) -> list[tuple[str, int]]:
    """Options of the server.

    Args:
        max_connections: most that are open; more are closed at once.
        life: of a connection.
        share_port: with other processes of this server.
    """
    return [
        (
            "grpc.so_reuseport",
            int(share_port),
        ),  # without 0 a second server binds the same port silently
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),  # as it comes, maybe compressed
        ("grpc.per_message_decompression", 0),  # see decoding.py, which bounds what it makes
        ("grpc.max_send_message_length", -1),  # rows x dim, bounded by --max-texts
        ("grpc.max_metadata_size", _MAX_HEADER_BYTES),
        ("grpc.absolute_max_metadata_size", _MAX_HEADER_BYTES),
        ("grpc.max_concurrent_streams", _CALLS),
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE),
        ("grpc.max_connection_idle_ms", _IDLE),
        ("grpc.max_connection_age_ms", round(life.age * _SECOND)),
        ("grpc.max_connection_age_grace_ms", round(life.grace * _SECOND)),
        ("grpc.keepalive_time_ms", _PING_EVERY),
        ("grpc.keepalive_timeout_ms", _PING_ANSWERED),
        ("grpc.http2.ping_timeout_ms", _PING_ANSWERED),
        ("grpc.keepalive_permit_without_calls", 1),
        # Of what clients send us: they need no pings of their own.
        ("grpc.http2.min_ping_interval_without_data_ms", 5 * _SECOND),
    ]
