"""One line in the log for each call that failed; its request id is in the caller's exception."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import openai
import pytest
from langchain_qwire import QwireEmbeddings
from llama_index.embeddings.qwire import QwireEmbedding

import qwire
from qwire_server.logs import JsonFormatter, TextFormatter
from qwire_server.pb.tei.v1 import tei_pb2, tei_pb2_grpc
from qwire_server.serve import Server
from qwire_server.settings import Settings
from support import web_client
from support.fake_server import wait_until
from support.runners import FakeRunner
from support.serving import fake_model
from support.web_front import Front, running

pytestmark = pytest.mark.timeout(60)

TEXT = "the-text-of-a-caller"


@asynccontextmanager
async def logging_server():
    """A server with the observer that it has by default."""
    runner = FakeRunner()
    settings = Settings(model="demo", grpc_port=0, http_port=0, drain_seconds=5)
    server = Server(settings, None, lambda _: fake_model(runner))
    await server.start()
    try:
        yield SimpleNamespace(server=server, runner=runner, observer=None)
    finally:
        runner.gate.set()
        await server.stop()


@pytest.fixture(scope="module")
def web() -> Iterator[Front]:
    with running(logging_server) as started:
        yield started


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The request lines so far, as a machine reads them."""
    caplog.set_level(logging.INFO, "qwire.server")

    def read() -> list[dict[str, Any]]:
        told = [JsonFormatter().format(record) for record in list(caplog.records)]
        return [line for line in map(json.loads, told) if line["message"] == "request"]

    return read


def refused(call: Callable[[], Any]) -> str:
    """The request id of the error that a call fails with."""
    with pytest.raises(qwire.QwireError) as caught:
        call()
    assert caught.value.request_id
    return str(caught.value.request_id)


def sync_client(web: Front) -> str:
    with qwire.Client(web.grpc, model="x") as client:
        return refused(lambda: client.embed([TEXT]))


def async_client(web: Front) -> str:
    async def call() -> None:
        async with qwire.AsyncClient(web.grpc, model="x") as client:
            await client.embed([TEXT])

    return refused(lambda: asyncio.run(call()))


def sync_stream(web: Front) -> str:
    with qwire.Client(web.grpc) as client:
        return refused(lambda: list(client.embed_stream([TEXT], dimensions=10**6)))


def langchain(web: Front) -> str:
    embeddings = QwireEmbeddings(target=web.grpc, model="x")
    return refused(lambda: embeddings.embed_query(TEXT))


def llama_index(web: Front) -> str:
    embedding = QwireEmbedding(target=web.grpc, model_name="x")
    return refused(lambda: embedding.get_text_embedding(TEXT))


def tei(web: Front) -> str:
    with grpc.insecure_channel(web.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        tei_pb2_grpc.EmbedStub(channel).Embed(tei_pb2.EmbedRequest(inputs=TEXT, dimensions=10**6))
    return str(dict(caught.value.trailing_metadata())["x-request-id"])


def tei_stream(web: Front) -> str:
    with grpc.insecure_channel(web.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        list(tei_pb2_grpc.EmbedStub(channel).EmbedStream(iter([tei_pb2.EmbedRequest(inputs="")])))
    return str(dict(caught.value.trailing_metadata())["x-request-id"])


def openai_sdk(web: Front) -> str:
    client = openai.OpenAI(base_url=f"{web.url}/v1", api_key="k")
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="x", input=TEXT)
    assert caught.value.request_id
    return caught.value.request_id


def plain_http(web: Front) -> str:
    body, sent = {"inputs": TEXT, "dimensions": 10**6}, {"x-request-id": "chosen-by-the-caller"}
    return web_client.post(f"{web.url}/embed", json=body, headers=sent).headers["x-request-id"]


CALLS = {
    sync_client: "MODEL_NOT_FOUND",
    async_client: "MODEL_NOT_FOUND",
    sync_stream: "INVALID_DIMENSIONS",
    langchain: "MODEL_NOT_FOUND",
    llama_index: "MODEL_NOT_FOUND",
    tei: "INVALID_DIMENSIONS",
    tei_stream: "INVALID_REQUEST",
    openai_sdk: "MODEL_NOT_FOUND",
    plain_http: "INVALID_DIMENSIONS",
}


@pytest.mark.parametrize(("call", "reason"), CALLS.items(), ids=[each.__name__ for each in CALLS])
def test_a_refused_call_is_one_line_with_the_id_that_its_caller_was_told(
    web: Front,
    lines: Callable[[], list[dict[str, Any]]],
    call: Callable[[Front], str],
    reason: str,
):
    request_id = call(web)
    wait_until(lambda: len(lines()) == 1, 30)
    (line,) = lines()
    assert (line["request_id"], line["reason"]) == (request_id, reason)
    assert line["level"] == "info"
    assert TEXT not in json.dumps(line)


def test_a_text_of_a_stream_that_fails_tells_the_id_of_its_stream(
    web: Front, lines: Callable[[], list[dict[str, Any]]]
):
    with qwire.Client(web.grpc) as client:
        good, bad = client.embed_stream(["a", "w " * 5000])
    assert good.error is None
    wait_until(lambda: len(lines()) == 1, 30)
    (line,) = lines()
    assert line["request_id"] == bad.error.request_id
    assert line["request_id"] in str(bad.error)
    assert (line["code"], line["failed"], line["texts"]) == ("OK", 1, 2)


def test_a_call_whose_time_is_over_is_found_by_the_callers_id(
    web: Front, lines: Callable[[], list[dict[str, Any]]]
):
    web.runner.gate.clear()
    try:
        with qwire.Client(web.grpc, max_attempts=1) as client:
            request_id = refused(lambda: client.embed([TEXT], timeout=0.3))
        wait_until(lambda: len(lines()) == 1, 30)
    finally:
        web.runner.gate.set()
    (line,) = lines()
    assert line["request_id"] == request_id
    assert line["code"] in {"DEADLINE_EXCEEDED", "CANCELLED"}  # whose clock was first


def test_a_call_that_succeeds_is_no_line(web: Front, lines: Callable[[], list[dict[str, Any]]]):
    with qwire.Client(web.grpc) as client:
        client.embed(["a"])
        assert len(list(client.embed_stream(["a", "b"]))) == 2
    web_client.post(f"{web.url}/embed", json={"inputs": "a"}).raise_for_status()
    sync_client(web)
    wait_until(lambda: len(lines()) >= 1, 30)
    assert [line["reason"] for line in lines()] == ["MODEL_NOT_FOUND"]


def test_a_line_for_people_has_the_same_facts(
    web: Front, caplog: pytest.LogCaptureFixture, lines: Callable[[], list[dict[str, Any]]]
):
    request_id = sync_client(web)
    wait_until(lambda: len(lines()) == 1, 30)
    (record,) = (r for r in caplog.records if r.getMessage() == "request")
    told = TextFormatter().format(record)
    assert f"request_id={request_id} " in told
    assert "reason=MODEL_NOT_FOUND" in told
    assert "\n" not in told
