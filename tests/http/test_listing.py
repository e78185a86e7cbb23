"""What `/v1/models` and a reply tell beyond OpenAI's fields: what the page needs to know."""

from __future__ import annotations

import re

from support import web_client
from support.web_front import serve


def test_a_model_tells_what_it_can_do():
    with serve(languages=("en", "zh"), fingerprint="f9") as web:
        (model,) = web_client.get(f"{web.url}/v1/models").json()["data"]
    assert (model["task"], model["languages"]) == ("embed", ["en", "zh"])
    assert (model["min_dimensions"], model["dimensions"]) == (2, 32)
    assert (model["max_tokens"], model["max_texts"]) == (128, 100)
    assert (model["device"], model["dtype"], model["fingerprint"]) == ("cpu", "float32", "f9")
    assert model["instructions"] is True


def test_a_reply_tells_where_the_time_went_and_what_was_unknown():
    with serve() as web:
        reply = web_client.post(f"{web.url}/v1/embeddings", json={"input": "rain"})
    names = re.findall(r"(\w+);dur=\d+\.\d{3}", reply.headers["server-timing"])
    assert names == ["tokenizer", "queue", "model"]
    assert reply.json()["usage"]["unknown_tokens"] == 0
