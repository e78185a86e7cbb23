"""Around every method of `tei.v1`: the guard of all fronts, with the statuses of this contract."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from qwire_server.api.tei.arrivals import Arrivals
from qwire_server.api.tei.errors import told
from qwire_server.engine.work import RequestClass
from qwire_server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from qwire_server.api.call import Call
    from qwire_server.api.rpc.guard import Context, Guard, Tally

T = TypeVar("T")


@asynccontextmanager
async def guarded(
    guard: Guard, method: str, context: Context, default_class: RequestClass
) -> AsyncIterator[tuple[Call, Tally]]:
    """Run a method's body; whatever it raises becomes a status."""
    async with guard.call(f"tei.{method}", context, default_class) as opened:
        try:
            yield opened
        except RequestError as error:
            raise told(error) from error


@asynccontextmanager
async def guarded_stream(
    guard: Guard, method: str, context: Context, size: Callable[[T], int]
) -> AsyncIterator[tuple[Call, Tally, Arrivals[T]]]:
    """Run the body of a method whose requests are a stream.

    Args:
        guard: of the server.
        method: its name.
        context: of the call.
        size: see `Arrivals`.
    """
    async with guarded(guard, method, context, RequestClass.BULK) as (call, tally):
        arrivals = Arrivals(context, size)
        try:
            yield call, tally, arrivals
        except RequestError:
            await arrivals.quiet()
            raise
        finally:
            await arrivals.close()
