"""Why there is no TLS connection, in a sentence that says what to do: from gRPC's own words."""

from __future__ import annotations

_EXPIRED = (
    "the certificate of {target} has expired: it must be renewed there (or this machine's clock is "
    "wrong)"
)
_TOO_EARLY = "the certificate of {target} is not valid yet: see this machine's clock"
_UNKNOWN = (
    "the certificate of {target} is not signed by an authority that this client knows: give "
    "ca_cert, that authority's certificate"
)
_NOT_BELIEVED = (
    "the certificate of {target} has expired, or is not signed by an authority that this client "
    "knows: give ca_cert, that authority's certificate"
)
_OTHER_NAME = (
    "the certificate of {target} is for another name: call it by a name that the certificate has, "
    "or give that name as server_name"
)
_HTTPS = (
    "{target} has TLS and does not speak gRPC: it looks like an HTTPS port; use the server's gRPC "
    "port"
)
_BAD_FILES = (
    "ca_cert, client_cert or client_key is of no use: one is half written, or the key is not that "
    "of the certificate"
)
# What gRPC tells (1.60 to 1.85), and what it means; the first that is found counts.
_CAUSES = (
    ("certificate has expired", _EXPIRED),
    ("certificate is not yet valid", _TOO_EARLY),
    ("unable to get local issuer", _UNKNOWN),
    ("self signed", _UNKNOWN),
    ("self-signed", _UNKNOWN),
    ("CERTIFICATE_VERIFY_FAILED", _NOT_BELIEVED),  # 1.60 says no more
    ("Hostname Verification", _OTHER_NAME),
    ("is not in peer certificate", _OTHER_NAME),
    ("ALPN", _HTTPS),
    ("Failed to create security handshaker", _BAD_FILES),
)
# The connection stood, and was closed before a word of gRPC.
_CLOSED = ("Socket closed", "reset by peer", "Handshake read failed", "_ALERT_", "Broken pipe")


def why_no_tls(details: str, target: str) -> str:
    """The sentence for a call with TLS; empty if the handshake is not to blame."""
    if "WRONG_VERSION_NUMBER" in details:
        return no_tls_there(target)
    for words, sentence in _CAUSES:
        if words in details:
            return sentence.format(target=target)
    if _was_closed(details):
        return (
            f"{target} closed the connection in the TLS handshake: servers do so that want a "
            "client's certificate; give client_cert and client_key, not expired and signed by an "
            "authority that the server knows"
        )
    return handshake_failed(target) if "handshake failed" in details.lower() else ""


def why_tls_is_missing(details: str, target: str) -> str:
    """The sentence for a call without TLS to a port that has it; empty if it does not look so."""
    return tls_is_missing(target) if _was_closed(details) else ""


def no_tls_there(target: str) -> str:
    """TLS met something else."""
    return (
        f"the TLS handshake with {target} failed, because it has no TLS: leave out grpcs://, "
        "tls=True, ca_cert and client_cert"
    )


def tls_is_missing(target: str) -> str:
    """A plain call met TLS."""
    return (
        f"{target} closed the connection before a word of gRPC, as servers do that have TLS: use "
        "grpcs://, or tls=True (and ca_cert, if its certificate is private)"
    )


def handshake_failed(target: str) -> str:
    """All that is known, where gRPC tells of another address of the same name."""
    return (
        f"the TLS handshake with {target} failed: is ca_cert the authority of its certificate, has "
        "that not expired, and has it the name that you call it by (else give server_name)? Does "
        "it want client_cert and client_key?"
    )


def _was_closed(details: str) -> bool:
    return "failed to connect" in details and any(words in details for words in _CLOSED)
