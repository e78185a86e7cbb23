"""What both ports present: a certificate from files, taken up again when they change.

Knows neither gRPC nor HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from qwire_server.security.watched import Watched

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from qwire_server.security.certificate import Certificate, CertificateFiles

_LOG = logging.getLogger("qwire.server")
_LOOK_SECONDS = 60.0
_REMIND_SECONDS = 86400.0


class Tls:
    """A certificate that may be renewed while the server runs. Safe to use from any thread.

    A new one is taken up by new handshakes; connections that are open keep theirs.

    Args:
        files: of the certificate.
        told: see `Watched`.
        seconds: see `Watched`.

    Raises:
        OSError: a file cannot be read.
        ValueError: the files are of no use.
    """

    def __init__(
        self, files: CertificateFiles, told: Callable[[str], None], seconds: float = 1.0
    ) -> None:
        self._files = Watched(files.paths, files.parse, told, seconds)
        self.wants_client_certificates = files.client_ca is not None

    def current(self) -> Certificate:
        """What is presented from now on."""
        return self._files.current()

    def reload(self) -> None:
        """Read the files now, in a thread."""
        self._files.reload()

    def context(self) -> ssl.SSLContext:
        """For a server that asks for no client certificate; each handshake has what is current."""
        context = self.current().context

        def present(connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
            connection.context = self.current().context

        # OpenSSL asks it in every handshake, whether or not the client names a server.
        context.sni_callback = present
        return context

    async def keep_looking(self) -> None:
        """Look at the files though nobody connects; once a day say that renewal is overdue."""
        reminded = float("-inf")
        while True:
            told = (await asyncio.to_thread(self.current)).overdue(time.time())
            if told and time.monotonic() >= reminded + _REMIND_SECONDS:
                _LOG.warning("%s (the files are read again when they change)", told)
                reminded = time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
