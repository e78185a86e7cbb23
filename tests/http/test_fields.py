"""Fields of the imitated interfaces: honoured, refused, ignored; and the page that lists them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from qwire import Client
from qwire_server.api.http import fields
from qwire_server.api.http.body import Body
from qwire_server.api.http.cohere import CohereEmbedBody
from qwire_server.api.http.openai import EmbeddingsBody
from qwire_server.api.http.rerank import RerankBody
from qwire_server.api.http.tei import EmbedBody
from qwire_server.load_reranker import load_reranker
from qwire_server.settings import Settings
from support import web_client
from support.rerankers import tiny_reranker
from support.serving import FAKE_ID
from support.web_front import Front, front

TEXT = "When do I get my money back?"
LONG = "long " * 300
PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
BODIES: dict[str, type[Body]] = {
    "embeddings": EmbeddingsBody,
    "tei": EmbedBody,
    "cohere": CohereEmbedBody,
    "rerank": RerankBody,
}
# The fields that each route needs.
NEEDED: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"input": TEXT},
    "/embeddings": {"input": TEXT},
    "/embed": {"inputs": TEXT},
    "/": {"inputs": TEXT},
    "/v1/embed": {"texts": [TEXT]},
    "/v2/embed": {"texts": [TEXT]},
    "/rerank": {"query": "q", "documents": [TEXT]},
    "/v1/rerank": {"query": "q", "documents": [TEXT]},
    "/v2/rerank": {"query": "q", "documents": [TEXT]},
}

pytestmark = pytest.mark.timeout(60)  # the first test with a reranker loads torch


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A server with a fake embedding model, and a small random Qwen3-Reranker."""
    folder = tiny_reranker(tmp_path_factory.mktemp("model") / "tiny")
    ranker = load_reranker(Settings(reranker=str(folder), device="cpu", dtype="float32"))
    with front({"reranker": str(folder), "load_ranker": lambda *_: ranker}, dim=16) as running:
        yield running


def post(web: Front, path: str, **sent: Any) -> httpx.Response:
    return web_client.post(web.url + path, json={**NEEDED[path], **sent})


def message(reply: httpx.Response) -> str:
    told = reply.json()
    return told["error"]["message"] if isinstance(told["error"], dict) else told["error"]


def test_the_page_has_every_field_of_every_body():
    header = "| field | embeddings | tei | cohere | rerank | meaning |"
    rows = PAGE.partition(header)[2].partition("\n\n")[0].splitlines()[2:]
    found: dict[str, set[str]] = {}
    for row in rows:
        name, *marks, meaning = (cell.strip() for cell in row.strip("|").split("|"))
        assert meaning
        found[name.strip("`")] = {kind for kind, mark in zip(BODIES, marks, strict=True) if mark}
    assert found == {
        name: {kind for kind, body in BODIES.items() if name in body.model_fields}
        for body in BODIES.values()
        for name in body.model_fields
    }


def test_the_page_has_every_refused_and_every_ignored_field_with_its_reason():
    for name, rule in fields.REFUSED.items():
        taken = ", ".join(f"`{json.dumps(value)}`" for value in rule.but) or "-"
        assert f"| `{name}` | {taken} | {rule.instead} |" in PAGE
    for name, why in fields.IGNORED.items():
        assert f"| `{name}` | {why} |" in PAGE
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert named == {*fields.REFUSED, *fields.IGNORED, *Body.known}


@pytest.mark.parametrize("path", NEEDED)
def test_what_cannot_be_honoured_is_refused_by_its_name(both: Front, path: str):
    """On every route, unless the route honours the field; a harmless value is taken."""
    kind = RerankBody if "rerank" in path else EmbeddingsBody
    kind = EmbedBody if path in {"/embed", "/"} else kind
    kind = CohereEmbedBody if path in {"/v1/embed", "/v2/embed"} else kind
    with web_client.client(base_url=both.url) as client:
        for name, rule in fields.REFUSED.items():
            if name in kind.model_fields:
                continue
            reply = client.post(path, json={**NEEDED[path], name: "something"})
            assert reply.status_code == (422 if kind is EmbedBody else 400), name
            assert f"`{name}`" in message(reply)
            for harmless in rule.but:
                reply = client.post(path, json={**NEEDED[path], name: harmless})
                assert reply.status_code == 200, (name, harmless)


@pytest.mark.parametrize("path", NEEDED)
def test_null_means_left_out_in_every_field(both: Front, path: str):
    every = {*fields.REFUSED, *fields.IGNORED, *Body.known, "anything"}
    alone, nulls = post(both, path), post(both, path, **(dict.fromkeys(every) | NEEDED[path]))
    assert nulls.status_code == 200
    for told in (one for one in (alone.json(), nulls.json()) if isinstance(one, dict)):
        told.pop("id", None)
    assert nulls.json().keys() == alone.json().keys() if isinstance(nulls.json(), dict) else True


@pytest.mark.parametrize("path", NEEDED)
def test_what_changes_nothing_is_ignored(both: Front, path: str):
    sent = {name: {"a": 1} for name in fields.IGNORED} | {"nobody_knows_it": 1}
    assert post(both, path, **sent).status_code == 200


@pytest.mark.parametrize(
    ("path", "name", "meant"),
    [
        ("/v1/embeddings", "dimension", "dimensions"),
        ("/v1/embeddings", "inputType", "input_type"),
        ("/v1/embeddings", "encoding-format", "encoding_format"),
        ("/embed", "promptName", "prompt_name"),
        ("/v1/rerank", "topN", "top_n"),
        ("/v1/rerank", "maxTokensPerDoc", "max_tokens_per_doc"),
    ],
)
def test_another_spelling_of_a_field_is_refused_with_the_right_one(
    both: Front, path: str, name: str, meant: str
):
    told = message(post(both, path, **{name: 4}))
    assert f"did you mean `{meant}`?" in told


@pytest.mark.parametrize(
    ("sent", "options"),
    [
        ({"task": "retrieval.query"}, {"input_type": "query"}),
        ({"task": "retrieval.passage"}, {}),
        ({"prompt_name": "query"}, {"input_type": "query"}),
        ({"input_type": "QUERY"}, {"input_type": "query"}),
        ({"normalized": False}, {"normalize": False}),
        ({"normalized": True}, {}),
        ({"use_activation": False}, {"normalize": False}),
        ({"activation": False}, {"normalize": False}),
        ({"output_dimension": 4}, {"dimensions": 4}),
        ({"output_dimension": 4, "dimensions": 4}, {"dimensions": 4}),
        ({"truncate": True}, {}),
        ({"truncation": True}, {}),
        ({"truncate_prompt_tokens": -1}, {"truncate": "start"}),
        ({"truncate_prompt_tokens": -1, "truncation_side": "right"}, {}),
        ({"truncation_side": "left"}, {"truncate": "start"}),
        ({"encoding_format": ["float"]}, {}),
        ({"encoding_format": None, "embedding_type": "float"}, {}),
        ({"embedding_type": ["float"]}, {}),
    ],
    ids=str,
)
def test_a_field_of_jina_voyage_or_vllm_means_what_it_means_there(
    both: Front, sent: dict, options: dict
):
    told = web_client.post(f"{both.url}/v1/embeddings", json={"input": [TEXT, LONG], **sent}).json()
    with Client(both.grpc) as client:
        expected = np.asarray(client.embed([TEXT, LONG], **options).vectors)
    got = np.array([item["embedding"] for item in told["data"]], np.float32)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["encoding_format", "embedding_type"])
@pytest.mark.parametrize("value", ["base64", ["base64"]], ids=str)
def test_base64_in_each_interfaces_words(both: Front, name: str, value: object):
    (item,) = post(both, "/v1/embeddings", **{name: value}).json()["data"]
    assert isinstance(item["embedding"], str)


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"task": "text-matching"}, "task"),
        ({"task": "code.query"}, "task"),
        ({"input_type": "classification"}, "input_type"),
        ({"truncate_prompt_tokens": 3}, "truncate_prompt_tokens"),
        ({"encoding_format": "bytes"}, "encoding_format"),
        ({"encoding_format": ["float", "base64"]}, "encoding_format"),
        ({"encoding_format": []}, "encoding_format"),
        ({"embedding_type": "ubinary"}, "embedding_type"),
        ({"embedding_type": {"float": 1}}, "embedding_type"),
        ({"task": "retrieval.query", "input_type": "document"}, "task"),
        ({"prompt_name": "query", "input_type": "query"}, "prompt_name"),
        ({"prompt_name": "query", "instruction": "find"}, "prompt_name"),
        ({"dimensions": 4, "output_dimension": 8}, "output_dimension"),
        ({"normalize": True, "normalized": False}, "normalized"),
        ({"truncate": "end", "truncation": False}, "truncation"),
        ({"query": "a"}, "query"),
        ({"top_n": 1}, "top_n"),
    ],
    ids=str,
)
def test_what_has_no_meaning_here_is_400(both: Front, sent: dict, named: str):
    reply = post(both, "/v1/embeddings", **sent)
    assert reply.status_code == 400
    assert f"`{named}`" in message(reply)


@pytest.mark.parametrize(
    "sent", [{"truncation": False}, {"truncate": False}, {"truncate": "none"}], ids=str
)
def test_a_text_that_is_too_long_is_refused_if_truncation_is_off(both: Front, sent: dict):
    reply = web_client.post(f"{both.url}/v1/embeddings", json={"input": [LONG], **sent})
    assert reply.status_code == 400
    assert "the model takes 128" in message(reply)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank"])
def test_reranking_takes_voyages_and_vllms_words(both: Front, path: str):
    documents = ["a b c", "x", "the capital"]
    whole = web_client.post(both.url + path, json={"query": "q", "documents": documents}).json()
    best = post(both, path, documents=documents, top_k=1, truncation=True).json()
    assert best["results"] == whole["results"][:1]
    (first,) = best["data"]
    assert first.items() < best["results"][0].items()
    raw = post(both, path, documents=documents, raw_scores=True).json()["results"]
    for name in ("use_activation", "activation"):
        assert post(both, path, documents=documents, **{name: False}).json()["results"] == raw
    assert raw != whole["results"]
    assert post(both, path, top_n=1, top_k=2).status_code == 400
    assert post(both, path, truncate_prompt_tokens=3).status_code == 400


@pytest.mark.parametrize(
    ("path", "sent", "shows"),
    [
        ("/v1/rerank", {}, True),
        ("/rerank", {}, True),
        ("/v1/rerank", {"return_documents": None}, True),
        ("/v1/rerank", {"return_documents": "true"}, True),
        ("/v1/rerank", {"return_documents": False}, False),
        ("/v2/rerank", {}, False),
        ("/v2/rerank", {"return_documents": True}, True),
    ],
)
def test_results_hold_their_documents_as_in_each_interface(
    both: Front, path: str, sent: dict, shows: bool
):
    (result,) = post(both, path, **sent).json()["results"]
    assert (result.get("document") == {"text": TEXT}) is shows


@pytest.mark.parametrize("path", ["/rerank", "/"])
def test_teis_form_shows_texts_only_if_asked(both: Front, path: str):
    body = {"query": "q", "texts": [TEXT]}
    (bare,) = web_client.post(both.url + path, json=body).json()
    (shown,) = web_client.post(both.url + path, json={**body, "return_text": True}).json()
    assert "text" not in bare
    assert shown["text"] == TEXT


def test_a_name_says_which_model_as_everywhere(both: Front):
    assert post(both, "/embed", model=FAKE_ID).status_code == 200
    assert post(both, "/embed", model="another").status_code == 422
