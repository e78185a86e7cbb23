"""A gRPC server that a request cannot stop.

grpcio from 1.84 on (1.85.1 is the newest known) reads the path of each call to a method that is not
*registered* as UTF-8 in the one task that accepts calls; a path that is none ends that task, and
with it the server: one packet, without a key. So every method is registered, which grpcio then
knows by itself, and for all other calls the task is never shown their path: they are refused here.

It takes grpcio's own names for that, and leaves other versions alone: those before have neither the
names nor the fault. `tests/fuzz/test_http2.py` sends such paths.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # no stubs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_UNKNOWN = "/"  # the path under which unknown ones are refused, and logged
_IS_AT_FAULT = hasattr(cygrpc.AioServer, "_make_request_call_future")


def server(
    *,
    options: Sequence[tuple[str, Any]],
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
) -> grpc.aio.Server:
    """The same as `grpc.aio.server`, and safe from paths that are no text."""
    with _careful_core():
        return grpc.aio.server(options=options, interceptors=interceptors)


@contextmanager
def _careful_core() -> Iterator[None]:
    """Have servers that are made meanwhile built around `_Careful`."""
    usual = cygrpc.AioServer
    if _IS_AT_FAULT:
        cygrpc.AioServer = _Careful
    try:
        yield
    finally:
        cygrpc.AioServer = usual


class _Careful(cygrpc.AioServer):  # type: ignore[misc]  # as above
    """What accepts calls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._known: set[str] = set()
        super().__init__(*args, **kwargs)

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Register each method, as newer stubs do by themselves."""
        for handler in handlers:
            self.add_registered_method_handlers(handler._method_handlers)  # noqa: SLF001  theirs

    def add_registered_method_handlers(self, methods: dict[str, Any]) -> None:
        """Register what is new: stubs that do both would register twice, which breaks the first."""
        new = {path: handler for path, handler in methods.items() if path not in self._known}
        self._known |= new.keys()
        super().add_registered_method_handlers(new)

    def _make_request_call_future(self, method: bytes | None) -> asyncio.Future[Any]:
        """The next call of a method; None is any that is not registered."""
        if method is None:
            return asyncio.ensure_future(self._refuse_unknown())
        registered: asyncio.Future[Any] = super()._make_request_call_future(method)
        return registered

    async def _refuse_unknown(self) -> None:
        """Answer UNIMPLEMENTED to each, until the server stops."""
        loop = asyncio.get_running_loop()
        nothing = cygrpc._MethodResolver([], {})  # noqa: SLF001  as above
        refusals: set[asyncio.Task[None]] = set()
        while True:
            state = await super()._request_call()
            call = cygrpc._handle_rpc(_UNKNOWN, nothing, (), state, loop, False)  # noqa: SLF001
            refusing = cygrpc._schedule_rpc_coro(call, state, loop, _UNKNOWN)  # noqa: SLF001
            refusals.add(task := loop.create_task(refusing))
            task.add_done_callback(refusals.discard)
