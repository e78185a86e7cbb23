"""A forward on a CUDA stream: what of it comes back, and when. The CPU's twin is `launched.Ran`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from qwire_server.model.device import mapped_errors
from qwire_server.model.launched import Ran

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class OnStream:
    """Started when it is made; its rows are copied back behind it.

    Args:
        device: a CUDA device.
        forward: enqueues the work; gives rows (n, row dim) on the device, and where each belongs.
        saved: see `Ran`.

    Raises:
        OutOfMemory, DeviceLost: as `launched.Launched.wait`.
    """

    def __init__(
        self,
        device: torch.device,
        forward: Callable[[], tuple[torch.Tensor, NDArray[np.int64]]],
        saved: list[int],
    ) -> None:
        self._device = device
        self._saved = saved
        # Blocking: a spinning thread would take a core from those that feed the device.
        self._began = torch.cuda.Event(enable_timing=True, blocking=True)
        self._ended = torch.cuda.Event(enable_timing=True, blocking=True)
        with torch.cuda.device(device), mapped_errors(device):
            self._began.record()
            rows, self._order = forward()
            self._rows = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            self._rows.copy_(rows, non_blocking=True)
            self._ended.record()

    def wait(self) -> Ran:
        """Block until the rows are here."""
        with mapped_errors(self._device):
            self._ended.synchronize()
            seconds = self._began.elapsed_time(self._ended) / 1000
        ended = time.monotonic_ns() // 1000
        return Ran(in_order(self._rows.numpy(), self._order), seconds, ended, self._saved)


def in_order(packed: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.float32]:
    """Rows of packed sequences, in the order of the batch."""
    rows = np.empty_like(packed)
    rows[order] = packed
    return rows
