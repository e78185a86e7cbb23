"""What gRPC is told where a target is several servers. Opens no channel.

gRPC itself spreads the calls: each goes to the next server that says, through `grpc.health.v1`,
that it serves. Trying again is not its business; that is `retry`.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from qwire.errors import ConnectionFailedError

if TYPE_CHECKING:
    from qwire.target import Address

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    # The whole server: one with only a reranker is healthy too.
    "healthCheckConfig": {"serviceName": ""},
}


def balancing_options() -> dict[str, Any]:
    """The channel options for several servers."""
    return {
        "grpc.service_config": json.dumps(_SERVICE_CONFIG),
        # How soon a name is looked up again once a connection ended; gRPC's own is 30 s.
        "grpc.dns_min_time_between_resolutions_ms": 5_000,
        # A machine that vanished closes no connection; these find it out in 20 s (all three are
        # needed: without the last it took 60). The server takes pings that are 5 s apart.
        "grpc.keepalive_time_ms": 10_000,
        "grpc.keepalive_timeout_ms": 10_000,
        "grpc.http2.ping_timeout_ms": 10_000,
    }


def grpc_target(address: Address) -> str:
    """The target as gRPC takes it; it reads a list of hosts only as numbers.

    Raises:
        ConnectionFailedError: no host of a list can be found.
    """
    if not address.several or address.target.lower().startswith(("dns:", "ipv4:", "ipv6:")):
        return address.target
    errors: list[str] = []
    found = [place for host in address.target.split(",") for place in _look_up(host, errors)]
    if not found:
        raise ConnectionFailedError(
            f"no host of {address.target} can be found ({'; '.join(errors)}): check "
            "target/QWIRE_TARGET",
            code="UNAVAILABLE",
            target=address.target,
        )
    return f"ipv6:{','.join(dict.fromkeys(found))}"


def _look_up(host: str, errors: list[str]) -> list[str]:
    """The `[address]:port` of a `host:port`, in IPv6's form, which holds IPv4 too.

    None of a host that cannot be found, which is added to `errors`: the others may do.
    """
    name, _, port = host.rpartition(":")
    try:
        found = socket.getaddrinfo(name.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        errors.append(f"{host}: {error.strerror or error}")
        return []
    v4 = [f"[::ffff:{place[0]}]:{port}" for family, *_, place in found if family == socket.AF_INET]
    # Like `localhost`, a name of both kinds is one server.
    return v4 or [f"[{place[0]}]:{port}" for *_, place in found]
