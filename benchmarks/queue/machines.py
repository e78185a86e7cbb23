"""Devices: what a forward takes. The figures are rough; shapes matter here, not speeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from qwire_server.engine.queue.cost import CostModel

_LONGEST = 8192


@dataclass(frozen=True)
class Machine:
    """A device and its model.

    Attributes:
        fixed: microseconds of any forward.
        per_token, per_square: microseconds of a text for each token, and for each squared.
        batch_tokens: most of one forward.
        launch: microseconds of one forward while questions come; the server's default there.
    """

    name: str
    fixed: int
    per_token: float
    per_square: float
    batch_tokens: int
    launch: int = 15_000

    def text(self, tokens: int) -> int:
        """Microseconds that a text adds to a forward."""
        return self._costs[tokens]

    @cached_property
    def _costs(self) -> list[int]:
        exact = self.believed()
        return [exact.text(n) for n in range(_LONGEST + 1)]

    def believed(self) -> CostModel:
        """What a server measures at warm-up."""
        return CostModel(self.fixed, self.per_token, self.per_square)


# The demo model on the two cores of the README's table.
SMALL = Machine(
    "small", fixed=11_000, per_token=180, per_square=0, batch_tokens=2048, launch=200_000
)
# Qwen3-0.6B on a large GPU without compilation: expected from its arithmetic, not measured.
LARGE = Machine("large", fixed=8_000, per_token=4, per_square=0.0004, batch_tokens=16384)
# Qwen3-0.6B on a processor of about ten cores.
SLOW = Machine(
    "slow", fixed=5_000, per_token=2000, per_square=0.02, batch_tokens=2048, launch=200_000
)
# A device on which batches save next to nothing, so that its capacity is one number.
EVEN = Machine("even", fixed=100, per_token=100, per_square=0.002, batch_tokens=2048)
