"""A forward on a CUDA stream: when it began and ended. The CPU's twin is `launched.Ran`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from qwire_server.model.device import mapped_errors
from qwire_server.model.launched import Ran

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.model.staging import Fetched


class OnStream:
    """Started when it is made.

    Args:
        device: a CUDA device.
        start: enqueues the work, and the copy of its rows behind it.
        saved: see `Ran`.

    Raises:
        OutOfMemory, DeviceLost: as `launched.Launched.wait`.
    """

    def __init__(
        self, device: torch.device, start: Callable[[], Fetched], saved: list[int]
    ) -> None:
        self._device = device
        self._saved = saved
        # Blocking: a spinning thread would take a core from those that feed the device.
        self._began = torch.cuda.Event(enable_timing=True, blocking=True)
        self._ended = torch.cuda.Event(enable_timing=True, blocking=True)
        with torch.cuda.device(device), mapped_errors(device):
            self._began.record()
            self._fetched = start()
            self._ended.record()

    def wait(self) -> Ran:
        """Block until the rows are here."""
        with mapped_errors(self._device):
            self._ended.synchronize()
            ended = time.monotonic_ns() // 1000
            seconds = self._began.elapsed_time(self._ended) / 1000
            return Ran(self._fetched.wait(), seconds, ended, self._saved)
