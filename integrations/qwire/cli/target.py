"""The arguments that every verb has which calls a server, and the client that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwire.client import Client

if TYPE_CHECKING:
    import argparse

_TLS = {
    "--ca-cert": "PEM file: who signed the server's certificate (default: those gRPC knows)",
    "--client-cert": "PEM file: the certificate to show, if the server asks for one",
    "--client-key": "PEM file: its key",
    "--server-name": "name to look for in the server's certificate (default: the target's)",
}


def add_target(verb: argparse.ArgumentParser) -> None:
    """Declare `--target`, and what TLS needs."""
    verb.add_argument(
        "--target",
        help="address, grpcs://host:port for TLS; default: QWIRE_TARGET, then localhost:50051",
    )
    for flag, told in _TLS.items():
        verb.add_argument(flag, metavar="NAME" if flag == "--server-name" else "PATH", help=told)


def open_client(options: argparse.Namespace, **settings: Any) -> Client:
    """A client for what the arguments say.

    Raises:
        InvalidRequestError: one of them cannot be used.
    """
    return Client(
        options.target,
        ca_cert=options.ca_cert,
        client_cert=options.client_cert,
        client_key=options.client_key,
        server_name=options.server_name,
        **settings,
    )
