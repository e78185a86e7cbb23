"""`/embed` and `/info` in the shapes of text-embeddings-inference."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from qwire import Client
from support import web_client
from support.serving import FAKE_ID
from support.web_front import Front

TEXTS = ["a bird", "two birds"]


def embed(web: Front, **fields) -> httpx.Response:
    return web_client.post(f"{web.url}/embed", json=fields)


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {}),
        ({"normalize": False}, {"normalize": False}),
        ({"dimensions": 4}, {"dimensions": 4}),
        ({"prompt_name": "query"}, {"input_type": "query"}),
        ({"truncate": True, "truncation_direction": "Left"}, {"truncate": "start"}),
    ],
    ids=str,
)
def test_fields_mean_what_they_mean_there(web: Front, fields: dict, options: dict):
    texts = [*TEXTS, "long " * 300]
    reply = embed(web, inputs=texts, **fields)
    assert reply.status_code == 200
    with Client(web.grpc) as client:
        expected = np.asarray(client.embed(texts, **options).vectors)
    np.testing.assert_array_equal(np.array(reply.json(), np.float32), expected)
    assert reply.headers["x-compute-characters"] == str(sum(map(len, texts)))
    assert int(reply.headers["x-compute-tokens"]) > 128


def test_one_text_gives_a_list_of_one(web: Front):
    assert embed(web, inputs=TEXTS[0]).json() == embed(web, inputs=TEXTS).json()[:1]


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"inputs": "long " * 300, "truncate": False}, 422, "validation"),
        ({"inputs": ["a"] * 101}, 422, "validation"),
        ({"inputs": []}, 422, "validation"),
        ({"inputs": "a", "prompt_name": "title"}, 422, "validation"),
        ({"inputs": "a", "dimensions": 99}, 422, "validation"),
        ({"inputs": [[1, 2]]}, 422, "validation"),
        ({}, 422, "validation"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_errors_have_its_statuses_and_types(web: Front, fields: dict, status: int, kind: str):
    reply = embed(web, **fields)
    assert (reply.status_code, reply.json()["error_type"]) == (status, kind)
    assert reply.json()["error"]


def test_info_has_its_fields(web: Front):
    told = web_client.get(f"{web.url}/info").json()
    assert told["model_id"] == FAKE_ID
    assert told["model_type"] == {"embedding": {"pooling": "last_token"}}
    assert told["max_input_length"] == 128
    assert told["max_client_batch_size"] == 100
    for name in ("version", "model_sha", "model_dtype", "max_batch_tokens", "auto_truncate"):
        assert told[name] is not None
