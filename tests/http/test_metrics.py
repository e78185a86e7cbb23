"""`/metrics`: what happened, in Prometheus' words; nothing that a client could have chosen."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from qwire import Client
from support.serving import FAKE_ID
from support.web_front import Front, front


def samples(web: Front) -> dict[tuple[str, frozenset], float]:
    reply = httpx.get(f"{web.url}/metrics")
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

        httpx.post(f"{web.url}/v1/embeddings", json={"input": ["a", "b"]})
        httpx.post(f"{web.url}/v1/embeddings", json={"input": ["a"] * 20})
        httpx.post(f"{web.url}/v1/embeddings", json={"input": "a", "model": "x"})
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


def test_what_a_client_sends_is_no_label(web: Front):
    """Each value of a label is a series that is kept for ever."""
    sent = "chosen-by-a-client"
    httpx.post(
        f"{web.url}/v1/embeddings?{sent}",
        json={"input": sent, "model": sent, "user": sent, "input_type": sent},
        headers={"x-request-id": sent, "user-agent": sent, "authorization": f"Bearer {sent}"},
    )
    httpx.get(f"{web.url}/{sent}")
    assert sent not in httpx.get(f"{web.url}/metrics").text
