"""What protects the ports, as the settings say."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.api.expiry import CertificateExpiry
from qwire_server.engine.observer import ReloadRecord
from qwire_server.errors import StartError
from qwire_server.security.certificate import CertificateFiles
from qwire_server.security.exposure import Exposure
from qwire_server.security.keyring import Keyring
from qwire_server.security.tls import Tls

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from qwire_server.engine.observer import Observer
    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")


@dataclass(frozen=True, slots=True)
class Protection:
    """Of both ports.

    Attributes:
        tls: what they present; None without TLS.
        keyring: the keys that callers need.
    """

    tls: Tls | None
    keyring: Keyring

    def reload(self) -> None:
        """Read all files again, in threads."""
        self.keyring.reload()
        if self.tls:
            self.tls.reload()


def protect(
    settings: Settings, observer: Observer, figures: CollectorRegistry | None = None
) -> Protection:
    """Open the files of certificates and keys, and see that the server is not too open.

    Args:
        settings: of the server.
        observer: told of each reading of a file but the first.
        figures: gets the certificate's end, if there is a certificate.

    Raises:
        StartError: the files are of no use, or other machines could call though not all is
            protected.
    """
    tls = _tls(settings, observer)
    if tls and figures:
        figures.register(CertificateExpiry(tls))
    keyring = Keyring(
        settings.api_keys_file, lambda wrong: observer.reload(ReloadRecord("keys", wrong))
    )
    missing = Exposure(
        host=settings.host,
        tls=tls is not None,
        keys=keyring.is_on,
        client_certificates=tls is not None and tls.wants_client_certificates,
        http=settings.http_port != "off",
    ).missing
    if missing and not settings.insecure_listen:
        raise StartError(
            f"--host {settings.host} lets other machines in, with {missing}: add what is missing, "
            "or listen on 127.0.0.1 behind what has it, or say --insecure-listen"
        )
    if missing:
        _LOG.warning(
            "INSECURE: --insecure-listen lets other machines in at %s, with %s",
            settings.host,
            missing,
        )
    return Protection(tls, keyring)


def _tls(settings: Settings, observer: Observer) -> Tls | None:
    _check_together(settings)
    if not settings.tls_cert or not settings.tls_key:
        return None
    files = CertificateFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    try:
        return Tls(files, lambda wrong: observer.reload(ReloadRecord("certificate", wrong)))
    except (OSError, ValueError) as error:
        raise StartError(f"no TLS with --tls-cert, --tls-key, --tls-client-ca: {error}") from error


def _check_together(settings: Settings) -> None:
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise StartError("--tls-cert and --tls-key go together: give both or neither")
    if settings.tls_client_ca and not settings.tls_cert:
        raise StartError("--tls-client-ca needs --tls-cert and --tls-key")
    if settings.tls_allowed_names and not settings.tls_client_ca:
        raise StartError("--tls-allowed-names needs --tls-client-ca: without it nobody has a name")
