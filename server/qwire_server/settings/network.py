"""Where the server listens, and whom it answers there."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, field_validator


class NetworkSettings(BaseModel):
    """Of the two ports."""

    host: str = Field("127.0.0.1", description="address to listen on")
    grpc_port: int = Field(50051, ge=0, le=65535, description="gRPC port; 0 takes a free one")
    http_port: int | Literal["off"] = Field(
        8000, description="HTTP port; 0 takes a free one, off opens none"
    )
    http_allowed_hosts: str | None = Field(
        None,
        description="names that the Host header may hold, with commas between them, * for any; "
        "default: this machine's loopback names while --host is one of them, else any",
    )
    http_cors_origins: str | None = Field(
        None,
        description="web origins whose pages may call, such as https://app.example.org, with "
        "commas between them; default: none but the server's own",
    )
    http_body_bytes: int = Field(
        16 * 1024 * 1024, gt=0, description="most bytes of one HTTP request's body"
    )
    http_wait_seconds: float = Field(
        45,
        gt=0,
        description="longest that an HTTP request waits for room in the queue before it is refused "
        "with 429; proxies give up after 60 s",
    )
    http_token_ids: bool = Field(
        False, description="take arrays of token ids of the served model's own tokenizer"
    )

    @field_validator("host")
    @classmethod
    def _has_no_brackets(cls, value: str) -> str:
        return value.strip("[]")  # of an IPv6 address; they are put where a port follows

    @field_validator("http_port", mode="before")
    @classmethod
    def _is_a_port(cls, value: object) -> object:
        if value != "off" and not (str(value).isdecimal() and int(str(value)) <= 65535):
            raise ValueError("neither a port (0 to 65535) nor off")
        return value
