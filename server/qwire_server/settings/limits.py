"""How much of this server one client, or all of them together, can hold on to."""

from __future__ import annotations

from pydantic import BaseModel, Field


class LimitSettings(BaseModel):
    """Of connections, streams, and the time that a client may take."""

    max_connections: int = Field(
        4096, gt=0, description="most open connections on each of the two ports"
    )
    connection_seconds: float = Field(
        3600,
        gt=0,
        description="oldest that a gRPC connection gets; its streams are told to reconnect before, "
        "and so long may a revoked certificate be in use",
    )
    client_streams: int = Field(256, gt=0, description="most open streams of one client")
    stalled_seconds: float = Field(
        60,
        gt=0,
        description="how long a client may leave what it is sent unread, before it is given up",
    )
    http_request_seconds: float = Field(
        60, gt=0, description="how long one HTTP request, headers and body, may take to arrive"
    )
    http_keep_alive_seconds: float = Field(
        75,
        gt=0,
        description="how long an HTTP connection stays open between two requests; longer than "
        "proxies keep theirs, so that none sends a request to a connection that closes",
    )
