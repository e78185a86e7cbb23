"""Writes the replies of one stream, and gives up a client that reads none of them.

Measured traps of grpc.aio: a reply that is not read cannot be taken back, and nothing ends one call
of a connection that lives. So the method ends and frees all that it held; the one reply, and the
status behind it (`messages.py`), stay until the client reads or is gone, and count against the
client until then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from qwire_server.errors import Stalled

if TYPE_CHECKING:
    from qwire_server.api.desk import Desk
    from qwire_server.api.rpc.guard import Context


class Writer:
    """Writes to one stream.

    Args:
        context: of the stream.
        desk: told when the client is given up, and when the transport lets go of it.
        client: whose stream it is; counted at `desk`.
        seconds: that one reply may lie unread.
    """

    def __init__(self, context: Context, desk: Desk, client: str, seconds: float) -> None:
        self._context = context
        self._desk = desk
        self._client = client
        self._seconds = seconds

    async def write(self, message: Any) -> None:
        """Write one message, and wait until the transport has taken it.

        Raises:
            Stalled: it has not, for too long; nothing more may be written.
        """
        writing = asyncio.ensure_future(self._context.write(message))
        try:
            await asyncio.wait({writing}, timeout=self._seconds)
        except asyncio.CancelledError:
            writing.add_done_callback(_forget)
            raise
        if not writing.done():
            self._give_up(writing)
            raise Stalled(
                f"a reply was not read for {self._seconds:g} s: the server has dropped the rest; "
                "read while you send, and send again what has no answer"
            )
        writing.result()

    def _give_up(self, writing: asyncio.Future[None]) -> None:
        writing.add_done_callback(_forget)
        self._desk.stall(self._client)
        # The stubs have a class there that nothing is an instance of.
        self._context.add_done_callback(self._let_go)  # type: ignore[arg-type]  # see above

    def _let_go(self, _: object) -> None:
        self._desk.unstall(self._client)


def _forget(writing: asyncio.Future[None]) -> None:
    """Take note of an error that nobody waits for any more."""
    if not writing.cancelled():
        writing.exception()
