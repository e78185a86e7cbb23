"""Replicas die, are replaced, and come and go: no caller notices."""

from __future__ import annotations

import itertools
import queue
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import yaml

from qwire import Client
from qwire.errors import DeadlineExceededError, OverloadedError
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from support.machine_speed import hang_limit
from support.ray_cluster import InBackground

ROOT = Path(__file__).parents[2]
TEXTS = [f"text {number}" for number in range(64)]


@pytest.fixture
def client(cluster):
    with Client(cluster.target) as one:
        yield one


def test_calls_are_spread_over_the_replicas(client):
    """Though they come on one connection: what one replica has counted is not what another has."""
    counts: set[int] = set()
    while len(counts) < 2:  # Ray's proxy hears of a replica a moment after it is ready
        for number in range(1, 10):
            client.embed(TEXTS[:number])
        counts = {client.stats().texts for _ in range(10)}


def test_a_stream_is_told_to_reconnect_so_that_a_replica_can_stop(cluster):
    """After two thirds of the drain time, whatever its client does."""
    with grpc.insecure_channel(cluster.target) as channel:
        asked: queue.SimpleQueue[pb.EmbedStreamRequest | None] = queue.SimpleQueue()
        asked.put(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
        replies = pb_grpc.EmbeddingStub(channel).EmbedStream(
            iter(asked.get, None), timeout=hang_limit(60)
        )
        assert next(replies).ids == [1]
        assert next(replies).notice == pb.NOTICE_RECONNECT
        asked.put(None)
        assert not list(replies)


def test_a_stream_longer_than_that_loses_nothing(client):
    """It moves once, or twice."""
    texts = (f"text {n}" for n in range(60) if not time.sleep(0.2))
    items = list(client.embed_stream(texts, ordered=True))
    assert [item.id for item in items] == list(range(60))
    assert not any(item.error for item in items)


def test_a_killed_replica_loses_nothing_and_is_replaced(cluster, client):
    """Killed while a stream and unary calls are under way."""
    expected = client.embed(TEXTS).vectors
    with InBackground(lambda: client.embed(TEXTS[:4])) as unary:
        items = []
        for item in client.embed_stream(itertools.islice(itertools.cycle(TEXTS), 3000)):
            items.append(item)
            if len(items) == 500:
                victim = cluster.kill_one()
        cluster.wait_for(2, without=[victim])
    assert unary.times > 0
    assert [item.id for item in items] == list(range(3000))
    vectors = np.stack([item.embedding for item in items])
    wanted = np.resize(expected, (3000, expected.shape[1]))
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)


def test_nobody_loses_anything_when_all_replicas_are_killed(cluster, client):
    """Calls wait in Ray's own proxy until there are others."""
    with InBackground(lambda: client.embed(TEXTS[:4])) as unary:
        killed = [cluster.kill_one()]
        while left := set(cluster.replicas()) - set(killed):
            killed += [cluster.kill_one()] if cluster.replicas()[0] in left else []
        stream = list(client.embed_stream(TEXTS))
        cluster.wait_for(2, without=killed)
    assert unary.times > 0
    assert sum(item.error is None for item in stream) == len(TEXTS)


def test_not_even_a_client_without_retries_notices_replicas_that_go(cluster):
    """Two go and one comes, as another version is deployed; the rest answer what they accepted."""
    old = cluster.replicas()
    with grpc.insecure_channel(cluster.target, [("grpc.enable_retries", 0)]) as channel:
        stub = pb_grpc.EmbeddingStub(channel)
        with InBackground(
            lambda: stub.Embed(pb.EmbedRequest(texts=TEXTS), timeout=hang_limit(60))
        ) as calls:
            cluster.deploy_again("--replicas", "1")
            cluster.wait_for(1, without=old)
    assert calls.times > 0
    cluster.deploy_again()  # as the other tests have it
    cluster.wait_for(2)


def test_replicas_come_for_work_that_waits_and_go_without_it(slow_cluster):
    """One stream, which is one request; then nobody notices that a replica goes."""
    with Client(slow_cluster.target) as client:
        texts, stop = itertools.count(), time.monotonic() + hang_limit(120)
        for item in client.embed_stream(f"q {n}" for n in texts):
            assert item.error is None
            if len(slow_cluster.replicas()) == 2:
                break
            assert time.monotonic() < stop, "no second replica came"
        with InBackground(lambda: client.embed(["q 1"])) as calls:
            slow_cluster.wait_for(1)
        assert calls.times > 0


def test_what_does_not_fit_is_refused_with_a_time_to_come_back(slow_cluster):
    """Who waits it out is served."""
    hasty = Client(slow_cluster.target, max_attempts=1, max_concurrency=64, batch_size=1)
    patient = Client(slow_cluster.target, timeout=hang_limit(120))
    with hasty, patient, InBackground(lambda: ask_for_too_much(hasty)):
        assert len(patient.embed([f"q {n}" for n in range(10)]).vectors) == 10


def ask_for_too_much(client: Client) -> None:
    with pytest.raises(OverloadedError) as caught:
        client.embed(["q 1"] * 300)
    assert caught.value.code == "OVERLOADED"
    assert caught.value.retry_after


def test_what_is_late_is_dropped(slow_cluster):
    """Ray tells a replica no deadline, but cancels the call."""
    with Client(slow_cluster.target) as client:
        before = computed(client)
        with pytest.raises(DeadlineExceededError):
            client.embed(["q 1"] * 20, timeout=0.3)
        while any(client.stats().interactive.held_seconds for _ in range(5)):
            time.sleep(0.01)
        assert computed(client) < before + 20


def computed(client: Client) -> int:
    """Texts, by all replicas."""
    seen = [
        (round(time.monotonic() - s.uptime_seconds), s.texts)
        for s in (client.stats() for _ in range(10))
    ]
    return sum(dict(sorted(seen)).values())


def test_the_config_file_of_deploy_serves_what_its_arguments_say(cluster, tmp_path):
    """With other models in it, and one replica."""
    config = yaml.safe_load((ROOT / "deploy/ray/serve.yaml").read_text("utf-8"))
    (application,) = config["applications"]
    models = {"model": cluster.flag("--model"), "reranker": cluster.flag("--reranker")}
    application["args"] = {**models, "replica_cpus": 0.5, "queue_seconds": 3.5}
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    old = cluster.replicas()
    cluster.run("-m", "ray.serve.scripts", "run", "--non-blocking", str(path))
    cluster.wait_for(1, without=old)
    with Client(cluster.target) as client:
        assert client.stats().queue_seconds == 3.5
        assert len(client.rerank("a", ["b", "c"])) == 2
    cluster.deploy_again()  # as the other tests have it
    cluster.wait_for(2)
