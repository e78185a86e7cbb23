"""When the certificate expires, for Prometheus. Knows no file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire_server.security.tls import Tls


class CertificateExpiry(Collector):
    """A gauge of what is presented when somebody asks: a renewed certificate is followed.

    Args:
        tls: of a server; one without it registers no such gauge.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The gauge without its value."""
        yield _gauge()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge; may read the files."""
        yield _gauge(self._tls.current().expires)


def _gauge(value: float | None = None) -> GaugeMetricFamily:
    name = "qwire_certificate_expiration_timestamp_seconds"
    return GaugeMetricFamily(name, "End of the certificate, in seconds since 1970.", value)
