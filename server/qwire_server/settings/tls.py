"""What protects the ports on a network."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  pydantic reads the annotations

from pydantic import BaseModel, Field


class TlsSettings(BaseModel):
    """Of certificates, and of going without."""

    tls_cert: Path | None = Field(
        None,
        description="PEM file with the certificate of both ports, then those of its issuers; read "
        "again when it changes; default: no TLS",
    )
    tls_key: Path | None = Field(None, description="PEM file with the certificate's key")
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file with the authorities of clients' certificates; gRPC then refuses "
        "clients without one",
    )
    tls_allowed_names: str | None = Field(
        None,
        description="names of client certificates that may call, with commas between them; "
        "default: any that --tls-client-ca signed",
    )
    insecure_listen: bool = Field(
        False, description="let other machines in though there is no TLS, or there are no keys"
    )
