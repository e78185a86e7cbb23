"""Decodes the messages of all calls: long ones in threads, and not more than memory allows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qwire_server.api.rpc.decoding import decoded, decompressed, is_compressed
from qwire_server.errors import Overloaded

if TYPE_CHECKING:
    from google.protobuf.message import Message

# Decoded within 20 ms whatever is in it; beyond this, a thread costs less than other calls' wait.
_INLINE_BYTES = 256 * 1024
_THREADS = 2  # that decode at once, so that they hold at most so many messages twice
_MAX_HELD_BYTES = 256 * 1024 * 1024
_RETRY_SECONDS = 1.0


class MessageDecoder:
    """Decodes messages, and bounds what all of them together hold.

    Args:
        max_elements: element limit of one message, see `decoding`.
    """

    def __init__(self, max_elements: int) -> None:
        self._max_elements = max_elements
        self._held = 0
        self._threads = asyncio.Semaphore(_THREADS)

    def __repr__(self) -> str:
        return f"<MessageDecoder {self._held} bytes held>"

    async def decode(self, raw: bytes, kind: type[Message]) -> tuple[Message, int]:
        """A message, and the bytes that it holds until they are given to `release`.

        Raises:
            Overloaded: the messages of all calls have too many bytes.
            InvalidRequest: it is broken, too large, or not of this kind.
        """
        held = self._hold(len(raw))
        try:
            if not is_compressed(raw) and len(raw) <= _INLINE_BYTES:
                return decoded(raw, kind, self._max_elements), held
            async with self._threads:
                if is_compressed(raw):
                    raw, sent = await asyncio.to_thread(decompressed, raw), len(raw)
                    held += self._hold(len(raw) - sent)
                return await asyncio.to_thread(decoded, raw, kind, self._max_elements), held
        except BaseException as error:
            self.release(held)
            # Frames of a traceback hold the bytes until a garbage collection.
            error.__context__ = error.__traceback__ = None
            del raw
            raise

    def release(self, held: int) -> None:
        """A message is no longer needed."""
        self._held -= held

    def _hold(self, size: int) -> int:
        if self._held + size > _MAX_HELD_BYTES:
            raise Overloaded(
                f"the messages of all open calls have more than {_MAX_HELD_BYTES} bytes: try again "
                "when some of them are answered",
                retry_after=_RETRY_SECONDS,
            )
        self._held += size
        return size
