"""Clients of other servers with nothing but the address changed, or requests just as they send."""

from __future__ import annotations

from collections.abc import Iterator

import cohere
import numpy as np
import pytest
from huggingface_hub import InferenceClient

from qwire import Client
from qwire_server.load_reranker import load_reranker
from qwire_server.settings import Settings
from support import web_client
from support.keys import KeyFile, bearer
from support.rerankers import tiny_reranker
from support.serving import FAKE_ID
from support.web_front import Front, front

TEXTS = ["a bird", "two birds"]
QUERY, DOCUMENTS = "When?", ["refunds take five days", "restart the pod"]

pytestmark = pytest.mark.timeout(60)  # the first test with a reranker loads torch


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A server with a fake embedding model, and a small random Qwen3-Reranker."""
    folder = tiny_reranker(tmp_path_factory.mktemp("model") / "tiny")
    ranker = load_reranker(Settings(reranker=str(folder), device="cpu", dtype="float32"))
    with front({"reranker": str(folder), "load_ranker": lambda *_: ranker}, dim=16) as running:
        yield running


def reference(web: Front, **options) -> np.ndarray:
    with Client(web.grpc) as client:
        return np.asarray(client.embed(TEXTS, **options).vectors)


def test_hugging_faces_client_by_the_servers_address(web: Front):
    """text-embeddings-inference's own first example; Haystack's embedder uses it."""
    client = InferenceClient(model=web.url)
    got = np.asarray(client.feature_extraction(TEXTS[0]), np.float32)
    np.testing.assert_array_equal(got, reference(web)[:1])
    many = client.feature_extraction(
        TEXTS, normalize=False, prompt_name="query", truncate=True, truncation_direction="right"
    )
    expected = reference(web, input_type="query", normalize=False)
    np.testing.assert_array_equal(np.asarray(many, np.float32), expected)
    few = client.feature_extraction(TEXTS, dimensions=4, encoding_format="float", model=web.url)
    np.testing.assert_array_equal(np.asarray(few, np.float32), reference(web, dimensions=4))


def test_the_root_embeds_or_ranks_as_the_body_says(both: Front):
    """`@huggingface/inference` and Weaviate post there; so does TEI's quick tour for rerankers."""
    with web_client.client(base_url=both.url) as client:
        sent = {"inputs": TEXTS, "options": {"wait_for_model": True, "use_cache": True}}
        np.testing.assert_array_equal(
            np.array(client.post("/", json=sent).json(), np.float32), reference(both)
        )
        ranks = {"query": QUERY, "texts": DOCUMENTS}
        assert client.post("/", json=ranks).json() == client.post("/rerank", json=ranks).json()
        assert client.post("/", json={}).status_code == 422
        assert client.get("/").headers["content-type"].startswith("text/html")
    assert both.observer.requests[-1].method == "/"


def test_a_key_needs_the_scope_of_what_the_root_does(tmp_path):
    file = KeyFile(tmp_path / "keys.toml")
    embed, rerank = file.new("embed", "embed"), file.new("rerank", "rerank")
    with front({"api_keys_file": file.path}) as web, web_client.client(base_url=web.url) as client:
        for body, good, bad in (
            ({"inputs": "a"}, embed, rerank),
            ({"query": "q", "texts": ["a"]}, rerank, embed),
        ):
            assert client.post("/", json=body).status_code == 401
            assert client.post("/", json=body, headers=dict(bearer(bad))).status_code == 403
            reply = client.post("/", json=body, headers=dict(bearer(good)))
            assert reply.status_code in {200, 424}  # there is no reranker
        assert client.get("/").status_code == 200


# Its own code for typed embeddings uses what pydantic has deprecated.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.parametrize("side", ["document", "query"])
def test_coheres_sdk_embeds_as_grpc_does(web: Front, side: str):
    """Both of its interfaces, in floats."""
    expected, kind = reference(web, input_type=side), f"search_{side}"
    with web_client.client() as http:
        old = cohere.Client("any key", base_url=web.url, httpx_client=http)
        plain = old.embed(texts=TEXTS, model=FAKE_ID, input_type=kind)
        np.testing.assert_array_equal(np.array(plain.embeddings, np.float32), expected)
        assert plain.texts == TEXTS
        typed = old.embed(
            texts=TEXTS, model=FAKE_ID, input_type=kind, embedding_types=["float"], truncate="END"
        )
        np.testing.assert_array_equal(np.array(typed.embeddings.float_, np.float32), expected)
        new = cohere.ClientV2("any key", base_url=web.url, httpx_client=http)
        reply = new.embed(
            texts=TEXTS, model=FAKE_ID, input_type=kind, embedding_types=["float", "base64"]
        )
        np.testing.assert_array_equal(np.array(reply.embeddings.float_, np.float32), expected)
        assert len(reply.embeddings.base64) == 2
        assert reply.meta.billed_units.input_tokens > 2


@pytest.mark.parametrize(
    "sent",
    [
        {"embedding_types": ["int8"]},
        {"embedding_types": ["float", "ubinary"]},
        {"embedding_types": "float"},
        {"input_type": "classification"},
        {"images": ["data:x"], "input_type": "image"},
        {"truncate": "MIDDLE"},
        {"max_tokens": 5},
        {"texts": []},
        {"output_dimension": 99},
    ],
    ids=str,
)
def test_what_coheres_interface_cannot_have_here_is_400(web: Front, sent: dict):
    for path in ("/v1/embed", "/v2/embed"):
        reply = web_client.post(web.url + path, json={"model": FAKE_ID, "texts": TEXTS, **sent})
        assert reply.status_code == 400
        assert next(iter(sent)) in reply.json()["message"].replace("dimensions", "output_dimension")


def test_pymilvus_reads_the_document_of_each_result(both: Front):
    """Its JinaRerankFunction sends so, and fails without `document`."""
    sent = {"query": QUERY, "documents": DOCUMENTS, "model": "tiny", "top_n": 2}
    told = web_client.post(f"{both.url}/v1/rerank", json=sent).json()
    assert sorted(one["document"]["text"] for one in told["results"]) == sorted(DOCUMENTS)


def test_lightrag_and_pymilvus_ask_by_a_task(web: Front):
    """Their Jina embedders send so, and read base64 or floats."""
    sent = {
        "model": FAKE_ID,
        "task": "retrieval.query",
        "dimensions": 8,
        "embedding_type": "float",
        "late_chunking": False,
        "input": TEXTS,
    }
    data = web_client.post(f"{web.url}/v1/embeddings", json=sent).json()["data"]
    got = np.array([one["embedding"] for one in data], np.float32)
    np.testing.assert_array_equal(got, reference(web, input_type="query", dimensions=8))


def test_voyages_client_sends_null_for_what_is_not_set(web: Front):
    sent = {
        "model": FAKE_ID,
        "input": TEXTS,
        "input_type": None,
        "truncation": True,
        "output_dtype": None,
        "output_dimension": None,
        "encoding_format": "base64",
    }
    data = web_client.post(f"{web.url}/v1/embeddings", json=sent).json()["data"]
    assert all(isinstance(one["embedding"], str) for one in data)


@pytest.mark.parametrize("name", ["demo", "DEMO", FAKE_ID, "a-name"])
def test_the_word_after_model_is_a_name_of_the_model(name: str):
    from support.web_front import serve  # noqa: PLC0415

    with serve(given="demo", aliases=("a-name",)) as web:
        sent = {"model": name, "input": "x"}
        assert web_client.post(f"{web.url}/v1/embeddings", json=sent).status_code == 200
        assert web_client.get(f"{web.url}/v1/models/{name}").status_code == 200
        with Client(web.grpc, model=name) as client:
            assert len(client.embed_query("x")) == 32
