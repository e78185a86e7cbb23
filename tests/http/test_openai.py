"""OpenAI's own SDK against `/v1/embeddings` and `/v1/models`."""

from __future__ import annotations

import numpy as np
import openai
import pytest

from qwire import Client
from support import web_client
from support.models import qwen_tokenizer
from support.serving import FAKE_ID
from support.web_front import Front, front

TEXTS = ["a bird", "two birds in a tree", "核"]


@pytest.fixture
def sdk(web: Front):
    with openai.OpenAI(base_url=f"{web.url}/v1", api_key="EMPTY", max_retries=0) as client:
        yield client


def rows(reply: openai.types.CreateEmbeddingResponse) -> np.ndarray:
    assert [item.index for item in reply.data] == list(range(len(reply.data)))
    return np.array([item.embedding for item in reply.data], np.float32)


def reference(web: Front, texts: list[str], **options) -> np.ndarray:
    """The same over gRPC."""
    with Client(web.grpc) as client:
        return np.asarray(client.embed(texts, **options).vectors)


def test_a_list_gives_the_vectors_of_grpc_and_counts_tokens(web: Front, sdk: openai.OpenAI):
    """The SDK asks for base64 by itself, and decodes it."""
    reply = sdk.embeddings.create(input=TEXTS, model=FAKE_ID)
    np.testing.assert_array_equal(rows(reply), reference(web, TEXTS))
    with Client(web.grpc) as client:
        assert reply.usage.prompt_tokens == sum(client.count_tokens(TEXTS).tokens)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens
    assert reply.model == FAKE_ID


def test_floats_are_the_same_float32_as_base64(web: Front, sdk: openai.OpenAI):
    """And a string is one text."""
    reply = sdk.embeddings.create(input=TEXTS[1], model=FAKE_ID, encoding_format="float")
    np.testing.assert_array_equal(rows(reply), reference(web, TEXTS[1:2]))


def test_dimensions_cut_and_scale_again(web: Front, sdk: openai.OpenAI):
    reply = sdk.embeddings.create(input=TEXTS, model=FAKE_ID, dimensions=4, user="somebody")
    np.testing.assert_array_equal(rows(reply), reference(web, TEXTS, dimensions=4))


async def test_the_async_sdk_gives_the_same(web: Front):
    async with openai.AsyncOpenAI(base_url=f"{web.url}/v1", api_key="x") as client:
        reply = await client.embeddings.create(input=TEXTS, model=FAKE_ID)
    np.testing.assert_array_equal(rows(reply), reference(web, TEXTS))


@pytest.mark.parametrize(
    "extra",
    [
        {"input_type": "query"},
        {"input_type": "search_query"},
        {"instruction": "Find birds"},
        {"instruction": ""},
    ],
    ids=str,
)
def test_extra_body_chooses_the_prompt(web: Front, sdk: openai.OpenAI, extra: dict):
    reply = sdk.embeddings.create(input=TEXTS, model=FAKE_ID, extra_body=extra)
    options = {k: v.replace("search_", "") for k, v in extra.items()}
    np.testing.assert_array_equal(rows(reply), reference(web, TEXTS, **options))


@pytest.mark.parametrize(
    ("name", "side"),
    [
        (FAKE_ID, "document"),
        ("fake-embedding-0.1b", "document"),
        ("ACME/FAKE-embedding-0.1B", "document"),
        (f"{FAKE_ID}:query", "query"),
        ("Fake-Embedding-0.1B:QUERY", "query"),
        (f"{FAKE_ID}:document", "document"),
    ],
)
def test_a_name_in_any_form_and_its_suffix(web: Front, sdk: openai.OpenAI, name: str, side: str):
    """For tools that can send nothing but a model's name."""
    reply = sdk.embeddings.create(input=TEXTS, model=name)
    np.testing.assert_array_equal(rows(reply), reference(web, TEXTS, input_type=side))


def test_a_field_says_more_than_the_suffix(web: Front, sdk: openai.OpenAI):
    reply = sdk.embeddings.create(
        input=TEXTS, model=f"{FAKE_ID}:query", extra_body={"input_type": "passage"}
    )
    np.testing.assert_array_equal(rows(reply), reference(web, TEXTS))


def test_another_model_is_not_found(sdk: openai.OpenAI):
    with pytest.raises(openai.NotFoundError, match="is not served here") as caught:
        sdk.embeddings.create(input="a", model="text-embedding-3-small")
    assert caught.value.code == "model_not_found"
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": []}, "at least one"),
        ({"input": {"a": 1}}, "a text or a list of texts"),
        ({"input": ["a", 1]}, "must hold texts"),
        ({"input": "a", "dimensions": 1000}, "allows 2 to 16"),
        ({"input": "a", "dimensions": "x"}, "`dimensions`"),
        ({"input": "a", "encoding_format": "hex"}, "`encoding_format`"),
        ({"input": "a", "input_type": "title"}, "`input_type` may be one of query"),
        ({"input": "a", "truncate": "middle"}, "`truncate` may be one of end"),
        ({"input": ["a"] * 101}, "at most 100 are taken"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_field_is_named(web: Front, fields: dict, said: str):
    reply = web_client.post(f"{web.url}/v1/embeddings", json=fields)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"
    assert reply.headers["x-request-id"]


def test_a_text_that_is_too_long_is_named_by_its_place(web: Front, sdk: openai.OpenAI):
    """When truncation is off; else it is cut, and the usage says so."""
    texts = ["short", "long " * 500]
    with pytest.raises(openai.BadRequestError, match="the model takes 128") as caught:
        sdk.embeddings.create(input=texts, model=FAKE_ID, extra_body={"truncate": "none"})
    assert caught.value.param == "input[1]"
    reply = sdk.embeddings.create(input=texts, model=FAKE_ID)
    assert reply.usage.model_dump()["cut_tokens"] > 100


def test_an_index_of_another_model_is_refused(sdk: openai.OpenAI):
    with pytest.raises(openai.APIStatusError, match="must not be mixed") as caught:
        sdk.embeddings.create(
            input="a", model=FAKE_ID, extra_body={"expected_fingerprint": "another"}
        )
    assert caught.value.status_code == 412


def test_token_ids_are_refused_with_what_to_set(sdk: openai.OpenAI):
    for ids in ([1, 2, 3], [[1, 2], [3]]):
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
            sdk.embeddings.create(input=ids, model=FAKE_ID)


def test_token_ids_of_the_models_own_tokenizer_are_texts_if_a_setting_takes_them(web: Front):
    """With or without the special tokens that a tokenizer adds."""
    with (
        front({"http_token_ids": True}, dim=16) as takes,
        openai.OpenAI(base_url=f"{takes.url}/v1", api_key="x") as sdk,
    ):
        tokenizer = qwen_tokenizer()
        ids = [tokenizer.encode(text).ids for text in TEXTS]
        reply = sdk.embeddings.create(input=ids, model=FAKE_ID)
        np.testing.assert_array_equal(rows(reply), reference(web, TEXTS))
        bare = tokenizer.encode(TEXTS[0], add_special_tokens=False).ids
        assert bare != ids[0]
        reply = sdk.embeddings.create(input=bare, model=f"{FAKE_ID}:query")
        np.testing.assert_array_equal(rows(reply), reference(web, TEXTS[:1], input_type="query"))
        embedded = web_client.post(f"{takes.url}/embed", json={"inputs": ids}).json()
        np.testing.assert_array_equal(np.array(embedded, np.float32), reference(web, TEXTS))


def test_models_are_listed_and_found_by_any_name(web: Front, sdk: openai.OpenAI):
    (listed,) = sdk.models.list()
    assert listed.id == FAKE_ID
    assert listed.model_dump()["fingerprint"] == "f1"
    assert sdk.models.retrieve(FAKE_ID).id == FAKE_ID
    assert sdk.models.retrieve("fake-embedding-0.1b:query").id == FAKE_ID
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("another")


def test_a_quota_is_429_with_a_time_to_come_back():
    with (
        front({"client_tokens_per_minute": 60}, dim=16) as web,
        openai.OpenAI(base_url=f"{web.url}/v1", api_key="x", max_retries=0) as sdk,
    ):
        sdk.embeddings.create(input="a word " * 50, model=FAKE_ID)
        with pytest.raises(openai.RateLimitError) as caught:
            sdk.embeddings.create(input="a word " * 50, model=FAKE_ID)
        headers = caught.value.response.headers
        assert int(headers["retry-after"]) >= 1
        assert int(headers["retry-after-ms"]) > 0
        assert caught.value.code == "quota_exceeded"
        assert caught.value.type == "rate_limit_error"


def test_every_request_is_recorded_as_over_grpc(web: Front, sdk: openai.OpenAI):
    """Client, class and tokens; more than 16 texts are bulk unless a header says otherwise."""
    web.observer.requests.clear()
    sdk.embeddings.create(input=TEXTS, model=FAKE_ID, extra_headers={"x-request-id": "r-1"})
    sdk.embeddings.create(input=["a"] * 17, model=FAKE_ID)
    sdk.embeddings.create(
        input=["a"] * 17, model=FAKE_ID, extra_headers={"x-qwire-class": "interactive"}
    )
    one, many, chosen = web.observer.requests
    assert (one.method, one.request_id, one.client) == ("/v1/embeddings", "r-1", "ipv4:127.0.0.1")
    assert (one.texts, one.code, one.request_class) == (3, "OK", "interactive")
    assert one.tokens > 3
    assert (many.request_class, chosen.request_class) == ("bulk", "interactive")
    assert web.observer.batches[-2].bulk_tokens == web.observer.batches[-2].tokens
    assert web.observer.batches[-1].bulk_tokens == 0


@pytest.mark.parametrize(
    "headers", [{"x-qwire-class": "urgent"}, {"x-qwire-timeout": "soon"}, {"x-qwire-timeout": "0"}]
)
def test_a_header_that_is_not_understood_is_an_error(web: Front, headers: dict):
    reply = web_client.post(f"{web.url}/v1/embeddings", json={"input": "a"}, headers=headers)
    assert reply.status_code == 400
    assert next(iter(headers)) in reply.json()["error"]["message"]
