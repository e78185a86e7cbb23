"""`/metrics`: what happened, in Prometheus' words; nothing that a client could have chosen."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from qwire import Client
from qwire_server.api.gate import Gate
from qwire_server.api.metrics import MetricsObserver
from qwire_server.checkpoint.progress import Progress
from qwire_server.engine.arithmetic import Arithmetic
from qwire_server.errors import BY_CODE
from support import web_client
from support.runners import FakeRunner
from support.serving import FAKE_ID, fake_model, serving
from support.web_front import Front, front, running


def samples(web: Front) -> dict[tuple[str, frozenset], float]:
    reply = web_client.get(f"{web.url}/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(reply.text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_calls_batches_and_the_queue_are_counted_whichever_way_they_came():
    with front({}, dim=16) as web, Client(web.grpc) as client:

        def value(name: str, **labels: str) -> float:
            named = {k.rstrip("_"): v for k, v in labels.items()}
            return samples(web)[name, frozenset(named.items())]

        web_client.post(f"{web.url}/v1/embeddings", json={"input": ["a", "b"]})
        web_client.post(f"{web.url}/v1/embeddings", json={"input": ["a"] * 20})
        web_client.post(f"{web.url}/v1/embeddings", json={"input": "a", "model": "x"})
        client.embed(["a"])
        calls = "qwire_requests_total"
        assert value(calls, method="/v1/embeddings", class_="interactive", code="OK") == 1
        assert value(calls, method="/v1/embeddings", class_="bulk", code="OK") == 1
        assert value(calls, method="/v1/embeddings", class_="interactive", code="NOT_FOUND") == 1
        assert value(calls, method="Embed", class_="interactive", code="OK") == 1
        assert value("qwire_request_failures_total", reason="MODEL_NOT_FOUND") == 1
        assert value("qwire_batch_texts_total", model=FAKE_ID) == 23
        assert value("qwire_batch_tokens_total", model=FAKE_ID, class_="bulk") > 0
        assert value("qwire_queue_held_seconds", class_="bulk") == 0
        assert value("qwire_ready") == 1
        assert value("process_resident_memory_bytes") > 0


def test_texts_of_streams_and_their_stages_are_counted_as_they_are_answered():
    with front({}, dim=16) as web, Client(web.grpc) as client:
        assert samples(web)["qwire_open_streams", frozenset()] == 0
        stream = client.embed_stream(["a", "w " * 200, "w" * 5000], window=1)
        next(stream)
        assert samples(web)["qwire_open_streams", frozenset()] == 1
        assert sum(item.error is not None for item in stream) == 1
        seen = samples(web)

    def value(name: str, **labels: str) -> float:
        return seen[name, frozenset((k.rstrip("_"), v) for k, v in labels.items())]

    assert value("qwire_stream_text_errors_total", reason="TEXT_TOO_LARGE") == 1
    assert value("qwire_cut_texts_total", model=FAKE_ID) == 1
    assert value("qwire_cut_tokens_total", model=FAKE_ID) > 50
    for stage in ("tokenize", "queue", "compute", "reply"):
        assert value("qwire_stage_seconds_count", stage=stage, class_="bulk") >= 1
        assert value("qwire_stage_seconds_count", stage=stage, class_="interactive") == 0


def test_what_a_batch_took_is_counted():
    """Operations by the model's shape, beside what the device did at best."""
    runner = FakeRunner()
    loaded = fake_model(runner)
    loaded = replace(
        loaded,
        arithmetic=Arithmetic(per_token=1000, per_square=0),
        served=replace(loaded.served, peak_flops=5e12),
    )
    serve = partial(serving, lambda _: loaded, runner=runner, http_port=0)
    with running(serve) as web, Client(web.grpc) as client:
        result = client.embed(["a", "b c"])
        seen = samples(web)
    model = frozenset({("model", FAKE_ID)})
    assert seen["qwire_batch_flops_total", model] == 1000 * result.tokens.sum()
    assert seen["qwire_device_peak_flops", model] == 5e12
    assert seen["qwire_batch_seconds_sum", model] > 0
    assert seen["qwire_device_starved_seconds_total", model] >= 0


def test_what_has_not_happened_yet_is_there_and_zero():
    """A series that begins with its first event hides that event from `rate()`."""
    with front({}) as web:
        seen = samples(web)
    for reason in BY_CODE:
        assert seen["qwire_request_failures_total", frozenset({("reason", reason)})] == 0
    for name in ("batch_splits", "texts_failed", "texts_not_finite", "texts_retried"):
        assert seen[f"qwire_{name}_total", frozenset({("model", FAKE_ID)})] == 0
    for what in ("certificate", "keys"):
        labels = frozenset({("what", what), ("result", "failed")})
        assert seen["qwire_reloads_total", labels] == 0


async def test_a_server_that_loads_can_be_scraped():
    """Before there is a model there is a figure that says so."""
    metrics, gate = MetricsObserver(), Gate(Progress(bars=False))
    await metrics.look(gate)
    told = metrics.exposed().decode()
    assert "qwire_ready 0.0" in told
    assert "qwire_build_info{" in told


def test_what_a_client_sends_is_no_label(web: Front):
    """Each value of a label is a series that is kept for ever."""
    sent = "chosen-by-a-client"
    web_client.post(
        f"{web.url}/v1/embeddings?{sent}",
        json={"input": sent, "model": sent, "user": sent, "input_type": sent},
        headers={"x-request-id": sent, "user-agent": sent, "authorization": f"Bearer {sent}"},
    )
    web_client.get(f"{web.url}/{sent}")
    assert sent not in web_client.get(f"{web.url}/metrics").text
