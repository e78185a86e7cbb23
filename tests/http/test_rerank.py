"""`/v1/rerank`, `/v2/rerank`, `/rerank`: Cohere's own SDK, Jina's shape, and that of TEI."""

from __future__ import annotations

from collections.abc import Iterator

import cohere
import pytest

from qwire import Client
from qwire_server.load_reranker import load_reranker
from qwire_server.settings import Settings
from support import web_client
from support.rerankers import tiny_reranker
from support.web_front import Front, front

QUERY = "What is the capital of China?"
DOCUMENTS = ["Beijing.", "gravity " * 9, "The capital of China is Beijing.", "a"]
MODEL = "tiny-reranker"

pytestmark = pytest.mark.timeout(60)  # the first test loads torch


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A server with a fake embedding model, and a small random Qwen3-Reranker."""
    folder = tiny_reranker(tmp_path_factory.mktemp("model") / MODEL)
    chosen = {"reranker": str(folder), "model_alias": "rerank-v3.5"}
    ranker = load_reranker(Settings(**chosen, device="cpu", dtype="float32"))
    with front({**chosen, "load_ranker": lambda *_: ranker}, dim=16) as running:
        yield running


def expected(both: Front, **options) -> list[tuple[int, object]]:
    """Over gRPC; the last bits of a score depend on who was in the batch."""
    with Client(both.grpc) as client:
        ranks = client.rerank(QUERY, DOCUMENTS, **options)
    return [(rank.index, pytest.approx(rank.score, rel=1e-5)) for rank in ranks]


@pytest.mark.parametrize("version", [cohere.Client, cohere.ClientV2])
@pytest.mark.parametrize("model", [MODEL, "rerank-v3.5"])
def test_coheres_sdk_ranks_as_grpc_does(both: Front, version: type, model: str):
    """Both of its interfaces; by the model's name, or by the one that the tool insists on."""
    with web_client.client() as http:
        sdk = version("any key", base_url=both.url, httpx_client=http)
        reply = sdk.rerank(query=QUERY, documents=DOCUMENTS, model=model, top_n=3)
    got = [(result.index, result.relevance_score) for result in reply.results]
    assert got == expected(both)[:3]


def test_jinas_shape(both: Front):
    """Documents come back on request, and may be objects with a text."""
    fields = {
        "model": MODEL,
        "query": QUERY,
        "documents": [{"text": text} for text in DOCUMENTS],
        "return_documents": True,
    }
    for path in ("/v1/rerank", "/rerank"):
        told = web_client.post(both.url + path, json=fields).json()
        assert told["model"] == MODEL
        assert told["usage"]["total_tokens"] > 100
        ranks = [(result["index"], result["relevance_score"]) for result in told["results"]]
        assert ranks == expected(both)
        for result in told["results"]:
            assert result["document"]["text"] == DOCUMENTS[result["index"]]


def test_the_shape_of_text_embeddings_inference_at_the_same_path(both: Front):
    fields = {"query": QUERY, "texts": DOCUMENTS}
    told = web_client.post(f"{both.url}/rerank", json=fields).json()
    assert [(rank["index"], rank["score"]) for rank in told] == expected(both)
    assert all(set(rank) == {"index", "score"} for rank in told)
    fields |= {"raw_scores": True, "return_text": True}
    told = web_client.post(f"{both.url}/rerank", json=fields).json()
    assert [(rank["index"], rank["score"]) for rank in told] == expected(both, raw_scores=True)
    assert [rank["text"] for rank in told] == [DOCUMENTS[rank["index"]] for rank in told]


def test_the_word_after_reranker_is_a_name_of_it(both: Front):
    """Here it is a folder."""
    given = both.server._settings.reranker
    assert given is not None
    for name, status in ((given, 200), (given + "x", 404)):
        fields = {"model": name, "query": QUERY, "documents": DOCUMENTS}
        assert web_client.post(f"{both.url}/v1/rerank", json=fields).status_code == status


def test_an_instruction_replaces_the_task(both: Front):
    fields = {"query": QUERY, "documents": DOCUMENTS, "instruction": "Find cities"}
    told = web_client.post(f"{both.url}/v1/rerank", json=fields).json()
    ranks = [(result["index"], result["relevance_score"]) for result in told["results"]]
    assert ranks == expected(both, instruction="Find cities")
    assert ranks != expected(both)


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({}, 400, "one of the two"),
        ({"documents": ["a"], "texts": ["a"]}, 400, "one of the two"),
        ({"documents": []}, 400, "nothing to rank"),
        ({"documents": ["a", {"image": "x"}]}, 400, "an object with `text`"),
        ({"documents": ["a"], "top_n": 0}, 400, "`top_n`"),
        ({"documents": ["a"], "model": "another"}, 404, "is not served here"),
        ({"documents": ["a"], "query": None}, 400, "`query`"),
        ({"documents": ["a"] * 2049}, 400, "at most 2048"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_request_is_told_to_whoever_reads_it(
    both: Front, fields: dict, status: int, said: str
):
    """Cohere's SDK reads `message`, Jina's users `detail`, those of TEI `error`."""
    reply = web_client.post(f"{both.url}/rerank", json={"query": QUERY, **fields})
    assert reply.status_code == status
    for key in ("message", "detail", "error"):
        assert said in reply.json()[key]


def test_a_server_without_a_reranker_says_how_to_start_one(web: Front):
    reply = web_client.post(f"{web.url}/rerank", json={"query": "q", "texts": ["a"]})
    assert reply.status_code == 412
    assert "--reranker" in reply.json()["error"]


def test_both_models_are_listed(both: Front):
    listed = web_client.get(f"{both.url}/v1/models").json()["data"]
    assert [model["id"] for model in listed][1:] == [MODEL]
    metrics = web_client.get(f"{both.url}/metrics").text
    assert f'qwire_batch_texts_total{{model="{MODEL}"}}' in metrics
