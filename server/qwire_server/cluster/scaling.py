"""How many replicas there should be, by the work that waits and not by the number of requests.

A request may have one token or a million. What a replica has accepted and not yet answered is
known in device time, and that is also how long a new request waits. Knows no Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ray.serve.config import AutoscalingContext

QUEUED_SECONDS = "qwire_queued_seconds"


class ByQueuedSeconds:
    """An autoscaling policy for Ray Serve, which runs it in its controller.

    Args:
        target: seconds of device time that may wait for each replica.
    """

    def __init__(self, target: float) -> None:
        self._target = target

    def __call__(self, ctx: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Replicas that are wanted, and no state; Ray adds bounds and delays."""
        metrics = ctx.aggregated_metrics or {}
        return wanted(metrics.get(QUEUED_SECONDS, {}).values(), self._target), {}


def wanted(queued: Iterable[float], target: float) -> float:
    """Replicas for the seconds that wait at each."""
    return max(1.0, sum(queued) / target)
