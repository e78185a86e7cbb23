"""Calls that are open, each with the key that let it in; those whose key is revoked are ended.

Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire_server.security.keyring import Keyring
    from qwire_server.security.keys import Key
    from qwire_server.security.scopes import Need

_SECONDS = 1.0  # between two looks


@dataclass(slots=True)
class OpenCall:
    """One call.

    Attributes:
        key: that let it in; None where none is needed.
        need: of its method.
        revoked: why it is ended, once it is.
    """

    key: Key | None
    need: Need
    revoked: RequestError | None = None

    def check(self) -> None:
        """See that the key was not revoked since.

        Raises:
            RequestError: it was.
        """
        if self.revoked:
            raise self.revoked


class OpenCalls:
    """All of one server."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._keys = keyring.keys
        self._open: dict[asyncio.Task[object], OpenCall] = {}

    def __repr__(self) -> str:
        return f"<OpenCalls {len(self._open)}>"

    @contextmanager
    def open(self, key: Key | None, need: Need) -> Iterator[OpenCall]:
        """Hold the current task for a call's, until the call ends."""
        task = asyncio.current_task()
        assert task, "a call is a task"
        call = self._open[task] = OpenCall(key, need)
        try:
            yield call
        finally:
            del self._open[task]

    async def patrol(self) -> None:
        """Take up changes of the keys, and end calls by them, for ever."""
        while True:
            await asyncio.sleep(_SECONDS)
            if self._keyring.keys is not self._keys:
                self._keys = self._keyring.keys
                self._find_revoked()
            # Each time anew: before Python 3.12 `wait_for` can swallow a cancellation, and does in
            # busy streams; those ask `check`. One that is heard ends a call well within a second.
            for task, call in self._open.items():
                if call.revoked:
                    task.cancel()

    def _find_revoked(self) -> None:
        """Note each call whose key no longer lets it in."""
        for call in self._open.values():
            if call.key and not call.revoked:
                try:
                    self._keyring.check(call.key, call.need)
                except RequestError as error:
                    call.revoked = error
