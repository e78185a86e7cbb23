"""Batches on their way to the device, and rows on their way back, through pinned memory.

Pinned memory lets a copy run while the host does something else; it is costly to make, so it is
made once and used again. A batch of 16,384 tokens is 256 KiB, and its rows a few MiB at most:
copies of microseconds, so they take turns with the forwards in one stream. On a CPU the same code
runs, without pinning and without waiting.
"""

from __future__ import annotations

from collections import deque
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwire_server.model.packing import Packed

_ALIGNED = 16  # bytes; what compiled kernels expect of a tensor's beginning


class Staging:
    """Buffers of one device. One thread stages and fetches; any thread waits.

    Args:
        device: that batches go to.
        depth: batches that may be on their way to the device before the host must wait for one.
    """

    def __init__(self, device: torch.device, depth: int = 3) -> None:
        self._device = device
        # Mutable, the staging thread's own: buffers in the order in which they come free.
        self._outward = deque(_Buffer(device) for _ in range(depth))
        # Mutable, shared: taken by the staging thread, given back by those that wait.
        self._homeward: deque[_Buffer] = deque()

    def __repr__(self) -> str:
        return f"<Staging {self._device} {len(self._outward)} out, {len(self._homeward)} free back>"

    def stage(self, packed: Packed) -> Packed:
        """Copy a batch that was packed on the host, all its tensors at once; waits for no copy."""
        parts: list[Any] = [packed, *filter(None, [packed.keys])]
        tensors = {
            (number, field.name): value
            for number, part in enumerate(parts)
            for field in fields(part)
            if isinstance(value := getattr(part, field.name), torch.Tensor)
        }
        starts, size = _layout(list(tensors.values()))
        buffer = self._outward.popleft()
        self._outward.append(buffer)
        with torch.inference_mode():
            host = buffer.room(size)
            for tensor, start in zip(tensors.values(), starts, strict=True):
                _view(host, start, tensor).copy_(tensor)
            there = host.to(self._device, non_blocking=True, copy=True)
            buffer.copying()
            moved: list[dict[str, Any]] = [{} for _ in parts]
            for ((number, name), tensor), start in zip(tensors.items(), starts, strict=True):
                moved[number][name] = _view(there, start, tensor)
        keys = packed.keys and replace(packed.keys, **moved[1])
        return replace(packed, keys=keys, **moved[0])

    def fetch(self, rows: torch.Tensor, order: NDArray[np.int64]) -> Fetched:
        """Start copying rows back; row i of `rows` is number `order[i]` of what comes."""
        try:
            buffer = self._homeward.popleft()
        except IndexError:
            buffer = _Buffer(self._device)
        with torch.inference_mode():
            host = _view(buffer.room(rows.nbytes), 0, rows)
            host.copy_(rows, non_blocking=True)
        buffer.copying()
        return Fetched(host, order, buffer, self._homeward)


class Fetched:
    """Rows on their way back."""

    def __init__(
        self,
        host: torch.Tensor,
        order: NDArray[np.int64],
        buffer: _Buffer,
        free: deque[_Buffer],
    ) -> None:
        self._host = host
        self._order = order
        self._buffer = buffer
        self._free = free

    def wait(self) -> NDArray[np.float32]:
        """The rows, in the order of the batch, once they are here. Called once."""
        self._buffer.wait()
        there = self._host.numpy()
        rows = np.empty_like(there)
        rows[self._order] = there
        self._free.append(self._buffer)
        return rows


class _Buffer:
    """Host memory that grows to what is asked of it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory = torch.empty(0, dtype=torch.uint8)
        self._done = torch.cuda.Event(blocking=True) if device.type == "cuda" else None

    def room(self, size: int) -> torch.Tensor:
        """`size` bytes of it, once no copy needs them any more."""
        self.wait()
        if size > len(self._memory):
            pinned = self._done is not None
            self._memory = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
        return self._memory[:size]

    def copying(self) -> None:
        """A copy into it or out of it was started."""
        if self._done is not None:
            self._done.record(torch.cuda.current_stream(self._device))

    def wait(self) -> None:
        """Until the copy is done."""
        if self._done is not None:
            self._done.synchronize()


def _layout(tensors: list[torch.Tensor]) -> tuple[list[int], int]:
    """Where each tensor begins in one piece of memory, in bytes, and how long that is."""
    starts, size = [], 0
    for tensor in tensors:
        starts.append(size)
        size += -(-tensor.nbytes // _ALIGNED) * _ALIGNED
    return starts, size


def _view(memory: torch.Tensor, start: int, like: torch.Tensor) -> torch.Tensor:
    return memory[start : start + like.nbytes].view(like.dtype).view(like.shape)
