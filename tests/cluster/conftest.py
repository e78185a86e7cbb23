"""Ray Serve on this machine: two replicas with small random models, one cluster for all tests."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from support.ray_cluster import START_SECONDS, RayCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIXTURES = {"cluster", "slow_cluster"}
# As the fixture `qwen_server` has them, so that both give the same bits.
_SAME = ("--dtype", "float32", "--prefix-cache", "off")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A small random Qwen3 and a small random Qwen3-Reranker, in two replicas."""
    from support.models import tiny_qwen3  # noqa: PLC0415  torch
    from support.rerankers import tiny_reranker  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("deployed")
    model = tiny_qwen3(folder / "tiny-qwen3")
    reranker = tiny_reranker(folder / "tiny-reranker")
    models = ("--model", str(model), "--reranker", str(reranker))
    # A stream is told to reconnect after two thirds of the drain time.
    small = ("--replicas", "2", "--replica-cpus", "0.5", "--drain-seconds", "9")
    with RayCluster(*models, *small, *_SAME) as running:
        yield running


@pytest.fixture(scope="session")
def slow_cluster() -> Iterator[RayCluster]:
    """One replica, and up to two; a text takes 50 ms, and a second of work may wait."""
    flags = ("--model", "0.05", "--queue-seconds", "2", "--drain-seconds", "9")
    scale = ("--max-replicas", "2", "--replica-cpus", "0.5", "--queued-seconds", "0.5")
    delays = ("--grow-seconds", "1", "--shrink-seconds", "3")
    program = ("-m", "support.ray_cluster")
    with RayCluster(*flags, *scale, *delays, program=program) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Tests that start a cluster need Ray, and time.

    What `-m` chooses by is there before it chooses; the time goes in front of that of servers.
    """
    there = importlib.util.find_spec("ray") is not None
    for item in filter(_needs_ray, items):
        item.add_marker("ray")
        item.add_marker("torch")
        if not there:
            item.add_marker(pytest.mark.skip("Ray is not installed: make test-ray installs it"))
    yield
    for item in filter(_needs_ray, items):
        item.add_marker(pytest.mark.timeout(2 * START_SECONDS), append=False)


def _needs_ray(item: pytest.Item) -> bool:
    return bool(_FIXTURES & set(getattr(item, "fixturenames", ())))
