"""A fake server, and one way to drive both clients."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from qwire import AsyncClient, Client
from support.fake_server import FakeServer
from support.machine_speed import hang_limit


class Blocking:
    """An AsyncClient with the words of Client, on an event loop of its own."""

    def __init__(self, *args, **kwargs):
        self.client = AsyncClient(*args, **kwargs)
        self.loop = asyncio.new_event_loop()

    def __getattr__(self, name):
        attribute = getattr(self.client, name)
        if not callable(attribute):
            return attribute

        def call(*args, **kwargs):
            result = attribute(*args, **kwargs)
            if inspect.isasyncgen(result):
                return self.iterate(result)
            if inspect.isawaitable(result):
                return self.loop.run_until_complete(result)
            return result

        return call

    def __repr__(self):
        return repr(self.client)

    def iterate(self, items):
        try:
            while True:
                try:
                    item = self.loop.run_until_complete(anext(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self.loop.run_until_complete(items.aclose())

    def end(self):
        self.loop.run_until_complete(self.client.close())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


@pytest.fixture
def server(monkeypatch):
    """A running fake server; the environment names no other."""
    monkeypatch.delenv("QWIRE_TARGET", raising=False)
    monkeypatch.delenv("QWIRE_API_KEY", raising=False)
    with FakeServer() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def connect(request):
    """Make a client of either kind; all are closed in the end."""
    made = []

    def make(*args, **kwargs):
        client = (Client if request.param == "sync" else Blocking)(*args, **kwargs)
        made.append(client)
        return client

    make.kind = request.param
    yield make
    for client in made:
        (client.close if request.param == "sync" else client.end)()


@pytest.fixture
def client(server, connect):
    """A client of the fake server, of either kind."""
    return connect(server.target, timeout=hang_limit(10))
