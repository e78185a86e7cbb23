"""A reply that is sent part by part, so that a large one does not keep others waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

_PART_BYTES = 256 * 1024


class PartsResponse(Response):
    """JSON in pieces, which are never put together as a whole.

    Args:
        pieces: parts of the body, in order.
        headers: beside its type and length.
    """

    media_type = "application/json"

    def __init__(self, pieces: Sequence[bytes], headers: Mapping[str, str]) -> None:
        size = {"content-length": str(sum(map(len, pieces)))}
        super().__init__(headers={**headers, **size})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send all of it; between two parts others have a turn."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        for part in self._parts():
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})

    def _parts(self) -> Iterator[bytes]:
        part, size = [], 0
        for piece in self._pieces:
            part.append(piece)
            size += len(piece)
            if size >= _PART_BYTES:
                yield b"".join(part)
                part, size = [], 0
        yield b"".join(part)
