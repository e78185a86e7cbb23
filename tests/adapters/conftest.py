"""Both adapters behind the same words, so that what they share is tested once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import qwire
from support.fake_server import FakeServer
from support.forms import Direct, LangChain, LlamaIndex

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no server and no key."""
    monkeypatch.delenv("QWIRE_TARGET", raising=False)
    monkeypatch.delenv("QWIRE_API_KEY", raising=False)


@pytest.fixture(params=[LangChain, LlamaIndex], ids=["langchain", "llama_index"])
def adapter(request: pytest.FixtureRequest) -> type[LangChain | LlamaIndex]:
    """Either adapter; call it with the fields of the embedding class."""
    return request.param


@pytest.fixture(params=[Direct, LangChain, LlamaIndex], ids=["client", "langchain", "llama_index"])
def form(request: pytest.FixtureRequest) -> type[Direct | LangChain | LlamaIndex]:
    """Whatever people embed with; call it with fields that all have."""
    return request.param


@pytest.fixture
def demo(demo_server: str) -> Iterator[qwire.Client]:
    """A direct client of the demo model."""
    with qwire.Client(demo_server) as client:
        yield client


@pytest.fixture
def qwen(qwen_server: str) -> Iterator[qwire.Client]:
    """A direct client of the small Qwen3."""
    with qwire.Client(qwen_server) as client:
        yield client


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A server that does as it is told: x's are cut, z's are unknown, letters are tokens."""
    with FakeServer() as server:
        yield server
