"""A prompt chosen by its name, over every interface that has such a field."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from qwire import AsyncClient, Client, InvalidRequestError
from qwire.cli import main
from qwire_server.checkpoint.model_prompts import read_prompts
from support import web_client
from support.machine_speed import hang_limit
from support.runners import FakeRunner
from support.serving import fake_model, serving
from support.web_front import Front, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXTS = ["a bird", "two birds"]
PROMPTS = {"query": "Instruct: Search\nQuery: ", "document": "d: ", "law": "l: ", "bare": ""}


def front(default: str | None = None) -> Any:
    """A server of a model that has these prompts."""
    runner = FakeRunner()
    loaded = fake_model(runner)
    prompts = read_prompts({"prompts": PROMPTS, "default_prompt_name": default}, None, None)
    loaded = replace(loaded, served=replace(loaded.served, prompts=prompts))
    return running(lambda: serving(lambda _: loaded, runner=runner, http_port=0))


@pytest.fixture(scope="module")
def server() -> Iterator[Front]:
    with front() as started:
        yield started


@pytest.fixture(scope="module")
def with_default() -> Iterator[Front]:
    """The same, with a prompt for texts of no side."""
    with front("law") as started:
        yield started


@pytest.fixture(scope="module")
def expected(server: Front) -> dict[str, list[list[float]]]:
    """The vectors of the texts behind each prompt, put there by hand."""
    with Client(server.grpc) as client:
        return {
            name: client.embed([prompt + text for text in TEXTS], instruction="").vectors.tolist()
            for name, prompt in PROMPTS.items()
        }


@pytest.mark.parametrize("name", PROMPTS)
def test_the_client_takes_a_name_in_every_method(server: Front, expected: dict, name: str):
    with Client(server.grpc) as client:
        assert client.embed(TEXTS, prompt_name=name).vectors.tolist() == expected[name]
        assert client.embed_documents(TEXTS, prompt_name=name).tolist() == expected[name]
        assert client.embed_query(TEXTS[0], prompt_name=name).tolist() == expected[name][0]
        stream = client.embed_stream(TEXTS, prompt_name=name)
        assert [item.embedding.tolist() for item in stream] == expected[name]
        by_hand = [PROMPTS[name] + text for text in TEXTS]
        counted = client.count_tokens(by_hand, instruction="").tokens
        assert (client.count_tokens(TEXTS, prompt_name=name).tokens == counted).all()


@pytest.mark.parametrize("name", PROMPTS)
async def test_the_async_client_takes_a_name_in_every_method(
    server: Front, expected: dict, name: str
):
    async with AsyncClient(server.grpc) as client:
        assert (await client.embed(TEXTS, prompt_name=name)).vectors.tolist() == expected[name]
        documents = await client.embed_documents(TEXTS, prompt_name=name)
        assert documents.tolist() == expected[name]
        query = await client.embed_query(TEXTS[0], prompt_name=name)
        assert query.tolist() == expected[name][0]
        stream = [item async for item in client.embed_stream(TEXTS, prompt_name=name)]
        assert [item.embedding.tolist() for item in stream] == expected[name]
        await client.count_tokens(TEXTS, prompt_name=name)


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize(("path", "field"), [("/embed", "inputs"), ("/v1/embeddings", "input")])
def test_http_takes_a_name(server: Front, expected: dict, path: str, field: str, name: str):
    body = {field: TEXTS, "prompt_name": name}
    reply = web_client.post(f"{server.url}{path}", json=body, timeout=hang_limit(50)).json()
    rows = reply if path == "/embed" else [row["embedding"] for row in reply["data"]]
    assert np.float32(rows).tolist() == expected[name]


def test_the_command_takes_a_name(server: Front, expected: dict, tmp_path: Path):
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    words = ["embed", "--target", server.grpc, "--prompt-name", "law", "--quiet"]
    assert main([*words, str(tmp_path / "texts.txt"), "-o", str(tmp_path / "out.npy")]) == 0
    assert np.load(tmp_path / "out.npy").tolist() == expected["law"]


def test_a_run_with_another_prompt_name_is_not_resumed(server: Front, tmp_path: Path, capsys):
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    words = ["embed", "--target", server.grpc, str(tmp_path / "texts.txt"), "--quiet"]
    words += ["-o", str(tmp_path / "parts")]
    assert main([*words, "--prompt-name", "law"]) == 0
    assert main([*words, "--resume", "--prompt-name", "bare"]) == 2
    assert "prompt_name was 'law'" in capsys.readouterr().err
    assert main([*words, "--resume", "--prompt-name", "law"]) == 0
    assert main([*words, "--resume"]) == 2


def test_describe_has_all_prompts_by_their_names(server: Front, with_default: Front):
    for running_server, default in ((server, ""), (with_default, "law")):
        with Client(running_server.grpc) as client:
            prompts = client.describe().prompts
        assert (prompts.named, prompts.default_name) == (PROMPTS, default)
        assert hash(prompts)


@pytest.mark.parametrize("name", ["title", "", "Law", "law ", "l: ", "\u6cd5"])
def test_an_unknown_name_is_refused_with_the_names_there_are(server: Front, name: str):
    listed = 'Available prompts: ["query", "document", "law", "bare"]'
    with Client(server.grpc) as client:
        for call in (client.embed, client.embed_documents, client.count_tokens):
            with pytest.raises(InvalidRequestError) as refused:
                call(TEXTS, prompt_name=name)
            assert listed in str(refused.value)
        with pytest.raises(InvalidRequestError) as refused:
            list(client.embed_stream(TEXTS, prompt_name=name))
        assert listed in str(refused.value)
    for path, field, status in (("/embed", "inputs", 422), ("/v1/embeddings", "input", 400)):
        body = {field: TEXTS, "prompt_name": name}
        reply = web_client.post(f"{server.url}{path}", json=body, timeout=hang_limit(50))
        assert (reply.status_code, listed in str(reply.json())) == (status, True)


@pytest.mark.parametrize(
    "beside",
    [
        {"input_type": "query"},
        {"input_type": "document"},
        {"input_type": "none"},
        {"instruction": "Find"},
        {"instruction": ""},
    ],
    ids=str,
)
def test_a_name_beside_what_chooses_the_prompt_too_is_refused(server: Front, beside: dict):
    """By the client before it sends, and by the server for whoever else sends it."""
    with Client(server.grpc) as client:
        for call in (client.embed, client.embed_stream, client.count_tokens):
            with pytest.raises(InvalidRequestError, match="prompt_name"):
                call(TEXTS, prompt_name="law", **beside)
    body = {"input": TEXTS, "prompt_name": "law", **beside}
    reply = web_client.post(f"{server.url}/v1/embeddings", json=body, timeout=hang_limit(50))
    assert reply.status_code == 400
    assert "`prompt_name` chooses the prompt alone" in reply.json()["error"]["message"]


def test_a_name_beside_a_suffix_of_the_model_is_refused(server: Front):
    with Client(server.grpc) as client:
        model = client.describe().model
    body = {"input": TEXTS, "prompt_name": "law", "model": f"{model}:query"}
    reply = web_client.post(f"{server.url}/v1/embeddings", json=body, timeout=hang_limit(50))
    assert reply.status_code == 400


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ({}, "law"),
        ({"input_type": "none"}, "law"),
        ({"input_type": "query"}, "query"),
        ({"input_type": "document"}, "document"),
        ({"instruction": ""}, "bare"),
        ({"prompt_name": "bare"}, "bare"),
    ],
    ids=str,
)
def test_a_default_prompt_is_for_texts_without_a_side(
    with_default: Front, expected: dict, words: dict, name: str
):
    """As `encode` of sentence-transformers has it; `encode_query` and `encode_document` do not."""
    with Client(with_default.grpc) as client:
        assert client.embed(TEXTS, **words).vectors.tolist() == expected[name]
    body = {"input": TEXTS, **words}
    reply = web_client.post(
        f"{with_default.url}/v1/embeddings", json=body, timeout=hang_limit(50)
    ).json()
    rows = [row["embedding"] for row in reply["data"]]
    assert np.float32(rows).tolist() == expected[name]


def test_queries_and_documents_never_get_the_default_prompt(with_default: Front, expected: dict):
    with Client(with_default.grpc) as client:
        assert client.embed_query(TEXTS[0]).tolist() == expected["query"][0]
        assert client.embed_documents(TEXTS).tolist() == expected["document"]


async def test_tei_gives_the_default_prompt_to_texts_without_a_name(
    server: Front, with_default: Front, expected: dict
):
    """Both of its interfaces; without a default prompt its gRPC puts nothing before a text."""
    reply = await asyncio.to_thread(
        httpx.post, f"{with_default.url}/embed", json={"inputs": TEXTS}, timeout=hang_limit(50)
    )
    assert np.float32(reply.json()).tolist() == expected["law"]
    for started, name in ((server, "bare"), (with_default, "law")):
        rows = [(await tei_embed(started, text)) for text in TEXTS]
        assert rows == expected[name]


async def tei_embed(server: Front, text: str) -> list[float]:
    import grpc  # noqa: PLC0415

    from support.tei import Tei  # noqa: PLC0415

    async with grpc.aio.insecure_channel(server.grpc) as channel:
        reply = await Tei(channel).embed(text)
    return np.float32(list(reply.embeddings)).tolist()
