"""Makes Prometheus metrics in one registry, all with our prefix. Knows no record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import CollectorRegistry

# From a question on an idle GPU to a request that waited for the whole queue.
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1)


class Instruments:
    """Makes them in `registry`. `docs/metrics.md` has a row for each; a test holds it to that."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, told: str, *labels: str) -> Counter:
        """What only grows; its name gets the ending `_total`."""
        return Counter(f"qwire_{name}", told, labels, registry=self._registry)

    def gauge(self, name: str, told: str, *labels: str) -> Gauge:
        """What is set when somebody asks."""
        return Gauge(f"qwire_{name}", told, labels, registry=self._registry)

    def histogram(
        self, name: str, told: str, *labels: str, buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        """How often which value was seen."""
        return Histogram(f"qwire_{name}", told, labels, buckets=buckets, registry=self._registry)
