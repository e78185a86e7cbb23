"""The class that Ray Serve runs: each RPC is a method of it. Policy lives behind it.

Ray names what it calls: the methods (`methods.py`), their parameter `grpc_context`, and
`check_health`, `record_autoscaling_stats`, `__del__`.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ray

from qwire.v1 import embedding_pb2 as pb
from qwire_server import logs
from qwire_server.cluster.context import Context, Ended
from qwire_server.cluster.methods import RPCS
from qwire_server.cluster.replica import Replica
from qwire_server.cluster.scaling import QUEUED_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ray.serve.grpc_util import RayServegRPCContext

    from qwire_server.cluster.methods import Rpc
    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.settings import Settings


class Ingress:
    """One replica.

    Args:
        settings: of the server.
        stream_seconds: after which a stream of `qwire.v1` is told to reconnect, so that it ends
            in time on a replica that stops, and finds those that have come.
        load: see `Replica`.
        load_ranker: see `Replica`.
    """

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self,
        settings: Settings,
        stream_seconds: float,
        load: Callable[[Settings], LoadedModel] | None = None,
        load_ranker: Callable[[Settings, int], LoadedReranker] | None = None,
    ) -> None:
        # What comes by Ray's proxy is a task of Ray; what comes from a client directly is not, and
        # inherits this one.
        self._began_in = ray.get_runtime_context().get_task_id()
        logs.configure(settings.log_format, settings.log_level)
        self._stream_seconds = stream_seconds
        self._replica = Replica(settings, load, load_ranker)
        await self._replica.start()

    def check_health(self) -> None:
        """Ray replaces a replica that raises here.

        Raises:
            RuntimeError: the device or the engine is lost.
        """
        if self._replica.failure:
            raise RuntimeError(self._replica.failure)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What `scaling.py` decides by."""
        return {QUEUED_SECONDS: self._replica.queued_seconds}

    def __del__(self) -> None:
        with suppress(AttributeError):  # it never was loaded
            self._replica.close()

    async def answer(self, rpc: Rpc, request: Any, given: RayServegRPCContext) -> Any:
        """Run a method that has one reply."""
        context = Context(given, request if rpc.requests_stream else None)
        try:
            return await self._method(rpc)(request, context)
        except Ended:
            return rpc.reply()

    async def answers(
        self, rpc: Rpc, request: Any, given: RayServegRPCContext
    ) -> AsyncIterator[Any]:
        """Run a method that has any number of replies."""
        context = Context(given, request if rpc.requests_stream else None)
        running = asyncio.ensure_future(_run(self._method(rpc)(request, context), context))
        aging = asyncio.ensure_future(self._age(rpc, context))
        try:
            async for reply in context.replies(running):
                yield reply
            await running
            if context.failed and ray.get_runtime_context().get_task_id() != self._began_in:
                context.end_in_words()
        finally:
            running.cancel()
            aging.cancel()
            await asyncio.gather(running, aging, return_exceptions=True)

    def _method(self, rpc: Rpc) -> Callable[[Any, Context], Any]:
        method: Callable[[Any, Context], Any] = getattr(
            self._replica.services[rpc.service], rpc.method
        )
        return method

    async def _age(self, rpc: Rpc, context: Context) -> None:
        """Ray does not tell a replica that it is to stop, and waits for its open calls."""
        if rpc.requests_stream and "notice" in rpc.reply.DESCRIPTOR.fields_by_name:
            await asyncio.sleep(self._stream_seconds)
            await context.write(rpc.reply(notice=pb.NOTICE_RECONNECT))


async def _run(method: Any, context: Context) -> None:
    """Run a method to its end, whether it writes its replies or yields them."""
    with suppress(Ended):
        if inspect.isasyncgen(method):
            async for reply in method:
                await context.write(reply)
        else:
            await method


def _unary(rpc: Rpc) -> Callable[..., Any]:
    async def method(self: Ingress, request: Any, grpc_context: RayServegRPCContext) -> Any:
        return await self.answer(rpc, request, grpc_context)

    return method


def _streaming(rpc: Rpc) -> Callable[..., Any]:
    async def method(
        self: Ingress, request: Any, grpc_context: RayServegRPCContext
    ) -> AsyncIterator[Any]:
        async for reply in self.answers(rpc, request, grpc_context):
            yield reply

    return method


for _rpc in RPCS:
    setattr(Ingress, _rpc.name, (_streaming if _rpc.replies_stream else _unary)(_rpc))
