from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from support import local
from support.models import tiny_qwen3
from support.serving import Running, fake_serving, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qwire_server.load import LoadedModel


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[Running]:
    """A server whose model costs nothing and does as it is told."""
    async with fake_serving() as running:
        yield running


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A small random Qwen3, loaded once."""
    return local.load(tiny_qwen3(tmp_path_factory.mktemp("model") / "tiny-qwen3"))


@pytest_asyncio.fixture
async def qwen(tiny: LoadedModel) -> AsyncIterator[Running]:
    """A server with the small random Qwen3."""
    async with serving(lambda _: tiny) as running:
        yield running
