"""CUDA graphs, and no more than capturing and replaying them. The one file that no CPU can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

_WARM_UPS = 2  # kernels are chosen and loaded by the first; a second proves that nothing is left


class CudaGraphs:
    """Graphs of one device that share their memory, so they must be replayed one after another."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._bytes = 0
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def capture(self, run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        """Record what `run` launches; the function replays it in the current stream."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            # Around it all: a capture that fails leaves its stream the current one.
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UPS):
                    run()
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
                before = torch.cuda.memory_reserved()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(
                    graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
                ):
                    rows = run()
                self._bytes += torch.cuda.memory_reserved() - before

        def replay() -> torch.Tensor:
            graph.replay()
            return rows

        return replay

    def bytes(self) -> int:
        """Device memory that the graphs take up, together."""
        return self._bytes
