from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from qwire_server.api.rpc import options
from support.serving import Running, fake_serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[Running]:
    """A server whose model costs nothing and does as it is told."""
    async with fake_serving() as running:
        yield running


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes gRPC seconds or minutes takes one second."""
    for name in ("_PING_EVERY", "_PING_ANSWERED", "_IDLE"):
        monkeypatch.setattr(options, name, 1000)
