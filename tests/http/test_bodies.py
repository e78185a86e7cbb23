"""What a body may hold: bounds before anything is built from it, and how JSON is read."""

from __future__ import annotations

import asyncio
import json
import random
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest

from qwire_server.api.http.body import BodyReader, not_json
from qwire_server.api.http.json_scan import MAX_DEPTH, JsonScan, TooManyValues
from qwire_server.api.http.reply import PartsResponse
from support import web_client
from support.models import qwen_tokenizer
from support.web_front import Front, front

JSON = {"content-type": "application/json"}
EMBEDDINGS = "/v1/embeddings"


def scan(text: bytes, max_values: int, max_lists: int, part: int = 65536) -> JsonScan:
    made = JsonScan(max_values, max_lists)
    for start in range(0, len(text), part):
        made.feed(text[start : start + part])
    return made


def counted(value: Any) -> tuple[int, int, int]:
    """Values, lists and objects, and levels of a JSON value, by walking it."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, list):
        return 1, 0, 0
    parts = [counted(each) for each in inner]
    return (
        1 + sum(p[0] for p in parts),
        1 + sum(p[1] for p in parts),
        1 + max((p[2] for p in parts), default=0),
    )


def made_up(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.randrange(6 if depth < 6 else 3)
    if kind < 3:
        letters = 'a"\\[]{},:\n核😀'
        return [dice.random(), None, "".join(dice.choices(letters, k=dice.randrange(9)))][kind]
    inner = [made_up(dice, depth + 1) for _ in range(dice.randrange(5))]
    return inner if kind < 5 else {f'k"[{i}': each for i, each in enumerate(inner)}


@pytest.mark.parametrize("part", [1, 2, 3, 7, 65536])
def test_the_scan_counts_what_json_holds_however_it_is_cut(part: int):
    """Never less than there is, and at most one more for each list: strings are no brackets."""
    dice = random.Random(7)
    for _ in range(200):
        value = [made_up(dice)]
        values, lists, levels = counted(value)
        for text in (orjson.dumps(value), json.dumps(value, indent=1).encode()):
            seen = scan(text, 10**6, lists, part)
            assert values <= seen.values <= values + lists
            with pytest.raises(TooManyValues):
                scan(text, 10**6, lists - 1, part)
        assert levels <= MAX_DEPTH


@pytest.mark.parametrize(("levels", "fits"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
@pytest.mark.parametrize("part", [1, 65536])
def test_levels_are_bounded(levels: int, fits: bool, part: int):
    text = b"[" * levels + b"]" * levels
    if fits:
        scan(text, 100, 100, part)
    else:
        with pytest.raises(TooManyValues, match="levels"):
            scan(text, 100, 100, part)


# Each is 15 MB that would become millions of Python objects, or hold the interpreter for long.
HEAVY = {
    "empty lists": b'{"input":[' + b"[]," * 5_000_000 + b"[]]}",
    "empty objects": b'{"input":[' + b"{}," * 5_000_000 + b"{}]}",
    "empty texts": b'{"input":[' + b'"",' * 5_000_000 + b'""]}',
    "numbers": b'{"input":[' + b"1," * 7_500_000 + b"1]}",
    "lists of a number": b'{"input":[' + b"[1]," * 3_700_000 + b"[1]]}",
    "objects with a text": b'{"documents":[' + b'{"text":""},' * 1_250_000 + b'""]}',
    "keys": b"{" + b",".join(b'"%d":1' % i for i in range(1_500_000)) + b"}",
    "nested lists": b"[" * 15_000_000,
    "nested objects": b'{"a":' * 3_000_000,
    "brackets and quotes": b'["' * 7_500_000,
    "quotes": b'"' * 15_000_000,
    "commas": b"," * 15_000_000,
}


@pytest.mark.parametrize("name", HEAVY)
def test_a_heavy_body_is_refused_before_it_is_whole(name: str):
    """By the numbers of a server with 2,048 texts: 33,792 values, in the first 2 MiB at most."""
    bound = 2048 * 16 + 1024
    with pytest.raises(TooManyValues):
        scan(HEAVY[name][: 2 * 2**20], bound, bound)


async def test_a_heavy_body_is_answered_with_400_and_leaves_turns_to_others(web: Front):
    """And so are six at once, whose clients are all heard out."""
    async with web_client.async_client(base_url=web.url, timeout=60) as client:
        posts = [
            asyncio.ensure_future(client.post(EMBEDDINGS, content=text, headers=JSON))
            for text in list(HEAVY.values())[:6]
        ]
        answered = 0
        while not all(post.done() for post in posts):
            answered += (await client.get("/health/live")).status_code == 200
        assert answered >= 6
        for post in posts:
            assert post.result().status_code == 400
            assert len(post.result().content) < 1000


async def test_large_bodies_are_parsed_one_at_a_time(monkeypatch: pytest.MonkeyPatch):
    """Between two of them the event loop turns, so that others are answered."""
    reader, order = BodyReader(1000), []
    turning = asyncio.ensure_future(_turn(order))

    class Request:
        def __init__(self) -> None:
            self.headers = {"content-type": "application/json"}

        async def stream(self):
            yield b"[]"

    monkeypatch.setattr(
        "qwire_server.api.http.body.orjson.loads", lambda raw: order.append("parsed") or raw
    )
    await asyncio.gather(*(reader.read(Request(), JsonScan(9, 9)) for _ in range(4)))  # type: ignore[arg-type]
    turning.cancel()
    places = [i for i, what in enumerate(order) if what == "parsed"]
    assert len(places) == 4
    assert all("turn" in order[a:b] for a, b in pairwise(places))


async def _turn(order: list[str]) -> None:
    while True:
        order.append("turn")
        await asyncio.sleep(0)


async def test_a_reply_is_sent_in_parts():
    pieces = [bytes([65 + i % 26]) * 40_000 for i in range(50)]
    response, sent = PartsResponse(pieces, {"x-a": "b"}), []

    async def send(message: Any) -> None:
        sent.append(message)

    await response({"type": "http"}, None, send)  # type: ignore[arg-type]
    start, *bodies = sent
    assert dict(start["headers"])[b"content-length"] == b"2000000"
    parts = [each.get("body", b"") for each in bodies]
    assert b"".join(parts) == b"".join(pieces)
    assert max(map(len, parts)) <= 300_000
    assert [each.get("more_body", False) for each in bodies] == [True] * (len(parts) - 1) + [False]


def test_2048_texts_are_taken_by_default_and_one_more_is_not():
    """OpenAI's limit; the Vercel SDK and LlamaIndex send so many."""
    with front({}, dim=4, max_texts=2048, request_tokens=10**5) as web:
        reply = web_client.post(web.url + EMBEDDINGS, json={"input": ["a"] * 2048}, timeout=60)
        assert [item["index"] for item in reply.json()["data"]] == list(range(2048))
        reply = web_client.post(web.url + EMBEDDINGS, json={"input": ["a"] * 2049}, timeout=60)
        assert (reply.status_code, "at most 2048" in reply.text) == (400, True)


@pytest.mark.parametrize(
    ("path", "body"),
    [(EMBEDDINGS, {"input": "a"}), ("/embed", {"inputs": "a"}), ("/v2/embed", {"texts": ["a"]})],
)
def test_a_byte_order_mark_is_skipped(web: Front, path: str, body: dict):
    content = b"\xef\xbb\xbf" + json.dumps(body).encode()
    assert web_client.post(web.url + path, content=content, headers=JSON).status_code == 200


@pytest.mark.parametrize(
    ("text", "name", "index"),
    [
        (rb'{"input": ["a", "b\ud800"]}', "`input[1]`", 1),
        (rb'{"input": ["a", "\ud800\u0041", "c"]}', "`input[1]`", 1),
        (rb'{"input": ["\udc00"]}', "`input[0]`", 0),
        (rb'{"input": "x\\\" \ud83d"}', "`input`", None),
        (rb'{"a": {"b": []}, "input": ["]", "\ud83d\ude00", "[\ud83d"]}', "`input[2]`", 2),
        (rb'{"documents": ["a", {"id": 1, "text": "\udfff"}]}', "`documents[1].text`", 1),
        (b'{"input": ["a", "\xed\xa0\x80"]}', "`input[1]`", 1),
        (b'{"input": ["\xe6\xa0\xb8", "\xff"]}', "`input[1]`", 1),
        (b"\xff\xfe{\x00}\x00", "the body", None),
    ],
    ids=str,
)
def test_a_text_that_is_not_unicode_is_named(text: bytes, name: str, index: int | None):
    with pytest.raises(orjson.JSONDecodeError) as caught:
        orjson.loads(text)
    error = not_json(text, caught.value)
    assert error.message.startswith(f"{name} is not Unicode")
    assert error.index == index


@pytest.mark.parametrize("text", [rb'{"\ud800": 1}', b"{", b"nul", b'{"a": "\x01"}', b"[1,]"])
def test_other_faults_of_json_are_told_without_what_was_sent(web: Front, text: bytes):
    reply = web_client.post(web.url + EMBEDDINGS, content=text, headers=JSON)
    assert reply.status_code == 400
    assert len(reply.json()["error"]["message"]) < 200


@pytest.mark.parametrize(
    ("ids", "named"),
    [
        ([-1], "position 0 of list 0"),
        ([2**32], "position 0 of list 0"),
        ([1, 2**63], "position 1 of list 0"),
        ([[1], [2, 3, 2**32 - 1]], "position 2 of list 1"),
        ([[1, 2], [3, -(2**31)]], "position 1 of list 1"),
        ([2**64], "`input[0]` is no text"),
        ([1, 1.5], "`input[1]` is no text"),
        ([1, True], "`input[1]` is no text"),
        ([[1], [2, "a"]], "`input[1][1]` is no text"),
        ([[1], []], "`input[1]` is no text"),
        ([1, "a"], "`input[1]` is no text"),
        ([["a"]], "`input[0][0]` is no text"),
        ([[[1]]], "`input[0][0]` is no text"),
    ],
    ids=str,
)
def test_a_token_id_that_is_none_is_400_and_named(takes_ids: Front, ids: list, named: str):
    reply = web_client.post(takes_ids.url + EMBEDDINGS, json={"input": ids})
    assert reply.status_code == 400
    assert named in reply.json()["error"]["message"]


def test_the_last_id_of_the_vocabulary_is_taken_and_the_next_is_not(takes_ids: Front):
    size = qwen_tokenizer().get_vocab_size()
    for last, status in ((size - 1, 200), (size, 400)):
        reply = web_client.post(takes_ids.url + EMBEDDINGS, json={"input": [5, last]})
        assert reply.status_code == status


def test_as_many_ids_as_a_request_may_have_tokens_are_taken(takes_ids: Front):
    ids = np.full(4096, 5).tolist()
    assert web_client.post(takes_ids.url + EMBEDDINGS, json={"input": ids}).status_code == 200


@pytest.fixture(scope="module")
def takes_ids():
    with front({"http_token_ids": True}, dim=16) as running:
        yield running


@pytest.mark.parametrize(
    "sent",
    [
        {"input": [{"text": "a bird"}, "two birds"]},
        {"input": ["a bird", {"text": "two birds"}]},
    ],
)
def test_texts_may_be_objects_as_jinas(web: Front, sent: dict):
    plain = web_client.post(web.url + EMBEDDINGS, json={"input": ["a bird", "two birds"]}).json()
    assert web_client.post(web.url + EMBEDDINGS, json=sent).json()["data"] == plain["data"]


def test_an_object_with_more_than_a_text_is_refused(web: Front):
    sent = {"input": ["a", {"text": "b", "image": "x"}]}
    reply = web_client.post(web.url + EMBEDDINGS, json=sent)
    assert (reply.status_code, "`input[1]`" in reply.text) == (400, True)


@pytest.mark.parametrize("field", ["model", "input_type", "task", "truncate", "prompt_name"])
def test_a_field_that_is_no_text_is_short(web: Front, field: str):
    reply = web_client.post(web.url + EMBEDDINGS, json={"input": "a", field: "x" * 100_000})
    assert reply.status_code == 400
    assert f"`{field}`" in reply.json()["error"]["message"]
    assert len(reply.content) < 1000
