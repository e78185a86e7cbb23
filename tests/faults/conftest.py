from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from support.fake_process import Process

Settled = Callable[[Process], dict]


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    """A server that all tests of a file share; at the end its books balance and nothing is open."""
    with Process("-m", "support.fault_server", "{port}", "drain_seconds=20") as running:
        yield running
        settle(running)


@pytest.fixture
def settled() -> Settled:
    """Waits until nothing is under way in a server; its census then."""
    return settle


def settle(server: Process) -> dict:
    """The census of a server once nothing is under way; its books balance."""
    while (census := server.asked("census"))["open"] or census["calls"]:
        time.sleep(0.05)
    assert census["accepted"] == census["answered"] + census["failed"] + census["abandoned"]
    return census
