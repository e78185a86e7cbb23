"""What the engine asks of a model: one method, one number, and what its work costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from qwire_server.engine.arithmetic import UNKNOWN, Arithmetic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.engine.queue.cost import CostModel
    from qwire_server.engine.work import TokenIds
    from qwire_server.model.launched import Launched


class Runner(Protocol):
    """A model on a device; `model.runner` has the real one."""

    @property
    def vocab_size(self) -> int:
        """Ids below it are valid."""

    @property
    def runs_ahead(self) -> bool:
        """Whether `launch` returns before the device is done, as on a GPU."""

    def launch(self, token_ids: Sequence[TokenIds], hints: Sequence[int] = ()) -> Launched:
        """Start a forward of some texts.

        `hints`: how many leading tokens each text is likely to share with others, of any batch.
        Called by one thread. Raises what `Launched.wait` raises.
        """

    def launch_plain(self, token_ids: Sequence[TokenIds]) -> Launched:
        """The same as simply as the model can be run: not compiled, nothing kept or reused.

        For texts whose row was not finite. In the same dtype, so that vectors stay comparable.
        """


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the engine runs; `cost` learns from each of its batches."""

    runner: Runner
    cost: CostModel
    arithmetic: Arithmetic = UNKNOWN
