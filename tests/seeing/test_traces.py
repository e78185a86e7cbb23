"""Spans of the server join the trace of whoever calls, in whatever words; and hold no content."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import openai
import pytest
from langchain_qwire import QwireEmbeddings
from llama_index.embeddings.qwire import QwireEmbedding

import qwire
from qwire_server.pb.tei.v1 import tei_pb2, tei_pb2_grpc
from support.web_front import Front, front

pytest.importorskip("opentelemetry.sdk")
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from support import web_client
from support.collector import Collector, collector

pytestmark = pytest.mark.timeout(60)

TEXT = "the-text-of-a-caller"
KEY = "the-key-of-a-caller"
SERVER, INTERNAL = 2, 1  # kinds of spans, in OTLP
STAGES = ["tokenize", "queue", "compute", "reply"]


@pytest.fixture(scope="module")
def collecting() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(collecting: Collector) -> Iterator[Front]:
    """A server that sends its spans to the collector, soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        with front({"otlp_endpoint": collecting.endpoint}, dim=16) as running:
            yield running


def in_trace(call: Callable[[], Any], sampler: Any = ALWAYS_ON) -> trace.SpanContext:
    """Call inside a span; which it was."""
    tracer = TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("a caller")
    token = context.attach(baggage.set_baggage("user", "the-baggage-of-a-caller"))
    try:
        with tracer.start_as_current_span("caller") as span:
            call()
            return span.get_span_context()
    finally:
        context.detach(token)


def headers() -> dict[str, str]:
    """What an instrumented HTTP client adds."""
    carrier: dict[str, str] = {"authorization": f"Bearer {KEY}"}
    propagate.inject(carrier)
    return carrier


def sync_client(web: Front) -> None:
    with qwire.Client(web.grpc, api_key=KEY) as client:
        client.embed([TEXT])


def sync_stream(web: Front) -> None:
    with qwire.Client(web.grpc, api_key=KEY) as client:
        assert len(list(client.embed_stream([TEXT] * 3))) == 3


def async_client(web: Front) -> None:
    async def call() -> None:
        async with qwire.AsyncClient(web.grpc, api_key=KEY) as client:
            await client.embed([TEXT])

    asyncio.run(call())


def async_stream(web: Front) -> None:
    async def call() -> None:
        async with qwire.AsyncClient(web.grpc, api_key=KEY) as client:
            assert len([item async for item in client.embed_stream([TEXT] * 3)]) == 3

    asyncio.run(call())


def langchain(web: Front) -> None:
    QwireEmbeddings(target=web.grpc, api_key=KEY).embed_documents([TEXT])


def langchain_async(web: Front) -> None:
    asyncio.run(QwireEmbeddings(target=web.grpc, api_key=KEY).aembed_query(TEXT))


def llama_index(web: Front) -> None:
    QwireEmbedding(target=web.grpc, api_key=KEY).get_text_embedding_batch([TEXT])


def llama_index_async(web: Front) -> None:
    model = QwireEmbedding(target=web.grpc, api_key=KEY)
    asyncio.run(model.aget_text_embedding_batch([TEXT]))


def tei(web: Front) -> None:
    with grpc.insecure_channel(web.grpc) as channel:
        carrier = tuple(headers().items())
        tei_pb2_grpc.EmbedStub(channel).Embed(tei_pb2.EmbedRequest(inputs=TEXT), metadata=carrier)


def openai_sdk(web: Front) -> None:
    client = openai.OpenAI(base_url=f"{web.url}/v1", api_key=KEY)
    client.embeddings.create(model="", input=TEXT, extra_headers=headers())


def plain_http(web: Front) -> None:
    web_client.post(f"{web.url}/embed", json={"inputs": TEXT}, headers=headers()).raise_for_status()


CALLS = {
    sync_client: "Embed",
    async_client: "Embed",
    sync_stream: "EmbedStream",
    async_stream: "EmbedStream",
    langchain: "Embed",
    langchain_async: "Embed",
    llama_index: "Embed",
    llama_index_async: "Embed",
    tei: "tei.Embed",
    openai_sdk: "POST /v1/embeddings",
    plain_http: "POST /embed",
}


def facts(span: Any) -> dict[str, Any]:
    """Attributes by name."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }


@pytest.mark.parametrize(("call", "name"), CALLS.items(), ids=[each.__name__ for each in CALLS])
def test_a_call_is_a_span_of_its_callers_trace(
    traced: Front, collecting: Collector, call: Callable[[Front], None], name: str
):
    caller = in_trace(lambda: call(traced))
    span = collecting.wait(caller.trace_id, name)
    assert span.kind == SERVER
    assert span.parent_span_id == caller.span_id.to_bytes(8, "big")
    told = facts(span)
    assert told["qwire.model"] == "Acme/Fake-Embedding-0.1B"
    assert told["qwire.code"] == "OK"
    assert told["qwire.texts"] in {1, 3}
    assert told["qwire.tokens"] > 0
    assert told["qwire.request_id"]


def test_a_request_shows_its_stages_one_after_the_other(traced: Front, collecting: Collector):
    caller = in_trace(lambda: sync_client(traced))
    whole = collecting.wait(caller.trace_id, "Embed")
    stages = [collecting.wait(caller.trace_id, name) for name in STAGES]
    assert {stage.parent_span_id for stage in stages} == {whole.span_id}
    assert {stage.kind for stage in stages} == {INTERNAL}
    times = [t for each in stages for t in (each.start_time_unix_nano, each.end_time_unix_nano)]
    assert times == sorted(times)
    slack = 1_000_000_000  # two clocks: one that can be set, and one that cannot
    assert whole.start_time_unix_nano - slack < times[0]
    assert times[-1] <= whole.end_time_unix_nano


def test_a_stream_shows_its_answers_as_events(traced: Front, collecting: Collector):
    caller = in_trace(lambda: sync_stream(traced))
    events = collecting.wait(caller.trace_id, "EmbedStream").events
    assert {event.name for event in events} == {"answer"}
    assert sum(facts(event)["qwire.texts"] for event in events) == 3
    assert all(facts(event)["qwire.compute_seconds"] > 0 for event in events)


def test_a_refusal_is_told_and_only_the_servers_own_faults_are_errors(
    traced: Front, collecting: Collector
):
    def call() -> None:
        client = qwire.Client(traced.grpc, model="another")
        with client, pytest.raises(qwire.ModelNotFoundError):
            client.embed([TEXT])

    caller = in_trace(call)
    span = collecting.wait(caller.trace_id, "Embed")
    assert facts(span)["qwire.reason"] == "MODEL_NOT_FOUND"
    assert span.status.code == 0


def test_a_caller_that_is_not_sampled_is_not_traced_here(traced: Front, collecting: Collector):
    unsampled = in_trace(lambda: sync_client(traced), ALWAYS_OFF)
    later = in_trace(lambda: sync_client(traced))
    collecting.wait(later.trace_id, "Embed")
    assert collecting.spans(unsampled.trace_id) == []


def test_a_trace_that_the_caller_names_himself_wins(traced: Front, collecting: Collector):
    """As `metadata`; the header is not sent twice."""
    named = int("ab" * 16, 16)
    header = {"traceparent": f"00-{named:032x}-{'cd' * 8}-01"}

    def call() -> None:
        with qwire.Client(traced.grpc, metadata=header) as client:
            client.embed([TEXT])

    in_trace(call)
    assert collecting.wait(named, "Embed").parent_span_id == bytes.fromhex("cd" * 8)


@pytest.mark.parametrize("sent", ["", "00-0-0-00", "ff-" + "a" * 32 + "-" + "b" * 16 + "-01", "é"])
def test_a_broken_header_begins_a_trace_of_its_own(traced: Front, sent: str):
    reply = web_client.post(
        f"{traced.url}/embed",
        json={"inputs": TEXT},
        headers={"traceparent": sent.encode("latin-1"), "tracestate": "=,=;"},
    )
    assert reply.status_code == 200


def test_no_text_key_vector_or_baggage_leaves_with_a_span(traced: Front, collecting: Collector):
    for call, name in CALLS.items():
        caller = in_trace(lambda: call(traced))  # noqa: B023  called at once
        collecting.wait(caller.trace_id, name)
    sent = b"".join(request.SerializeToString() for request in collecting.requests)
    for secret in (TEXT, KEY, "the-baggage-of-a-caller", "127.0.0.1"):
        assert secret.encode() not in sent


def test_environment_variables_of_opentelemetry_hold(traced: Front, collecting: Collector):
    caller = in_trace(lambda: sync_client(traced))
    collecting.wait(caller.trace_id, "Embed")
    told = facts(collecting.requests[0].resource_spans[0].resource)
    assert told["service.name"] == "qwire"
    assert told["service.version"] == qwire.__version__
    assert told["deployment.environment"] == "test"


def test_a_collector_that_is_away_costs_no_call(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with front({"otlp_endpoint": "http://127.0.0.1:1"}) as web:
        for _ in range(3):
            sync_client(web)


def test_fastapi_adds_nothing_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """Where somebody set a provider for the process, its spans would hold what clients sent."""
    kept, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with front({}) as web:
        web_client.post(f"{web.url}/embed?{TEXT}", json={"inputs": TEXT}).raise_for_status()
    assert kept.get_finished_spans() == ()


def test_without_its_packages_the_setting_is_refused_with_the_way_out():
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "from qwire_server.main import main\n"
        "sys.exit(main(['--model', 'demo', '--otlp-endpoint', 'http://localhost:4317']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.startswith("qwire serve: --otlp-endpoint needs OpenTelemetry")
    assert 'pip install "qwire[otel]"' in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "package"),
    [("qwire.aio", "opentelemetry"), ("qwire_server.serve", "opentelemetry.sdk")],
)
def test_nobody_imports_opentelemetry_unasked(module: str, package: str):
    """FastAPI imports its API."""
    code = f"import sys, {module}; print(*(m for m in sys.modules if m.startswith('{package}')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
