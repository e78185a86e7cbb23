"""All adapters: keys, numbers, what their representations show, where their warnings point."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import json
import os
import pickle
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumps
from langchain_qwire import QwireCrossEncoder, QwireEmbeddings, QwireReranker
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.embeddings.qwire import QwireEmbedding
from llama_index.postprocessor.qwire import QwireRerank
from pydantic import SecretStr, ValidationError

import qwire
from qwire.advice import TextsCutWarning

if TYPE_CHECKING:
    from support.fake_server import FakeServer

SECRET = "s3cret-value"
NODES = [NodeWithScore(node=TextNode(text="a"))]
SYNC: dict[type, Any] = {
    QwireEmbeddings: lambda it: it.embed_documents(["a"]),
    QwireReranker: lambda it: it.compress_documents([Document("a")], "q"),
    QwireCrossEncoder: lambda it: it.score([("q", "a")]),
    QwireEmbedding: lambda it: it.get_text_embedding_batch(["a"]),
    QwireRerank: lambda it: it.postprocess_nodes(NODES, query_str="q"),
}
ASYNC: dict[type, Any] = {
    QwireEmbeddings: lambda it: it.aembed_documents(["a"]),
    QwireReranker: lambda it: it.acompress_documents([Document("a")], "q"),
    QwireEmbedding: lambda it: it.aget_text_embedding_batch(["a"]),
    QwireRerank: lambda it: it.apostprocess_nodes(NODES, query_str="q"),
}
QUERIES: dict[type, Any] = {
    QwireEmbeddings: lambda it: it.embed_query("a"),
    QwireEmbedding: lambda it: it.get_query_embedding("a"),
}
ALL = list(SYNC)


def rotating(name):
    """A key of that name, as a function that pickles; it ends in the number of the call."""
    return functools.partial(_next, [name, 0])


def _next(state):
    state[1] += 1
    return f"{state[0]}-{state[1]}"


def keys_seen(fake):
    return [seen.metadata.get("authorization", "").removeprefix("Bearer ") for seen in fake.seen]


# -- keys


@pytest.mark.parametrize("made", ALL)
def test_a_function_gives_the_key_of_each_request(fake: FakeServer, made):
    adapter = made(target=fake.target, api_key=rotating("key"))
    SYNC[made](adapter)
    SYNC[made](adapter)
    if made in ASYNC:
        asyncio.run(ASYNC[made](adapter))
    if made in QUERIES:
        QUERIES[made](adapter)
    seen = keys_seen(fake)
    assert seen == [f"key-{number + 1}" for number in range(len(seen))]
    assert len(seen) >= 2


@pytest.mark.parametrize("made", ALL)
@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda it: it.model_copy(),
        lambda it: pickle.loads(pickle.dumps(it)),
    ],
    ids=["copy", "deepcopy", "model_copy", "pickle"],
)
def test_copies_ask_the_function_too(fake: FakeServer, made, copied):
    adapter = made(target=fake.target, api_key=rotating("key"))
    SYNC[made](copied(adapter))
    SYNC[made](adapter)
    assert all(key.startswith("key-") for key in keys_seen(fake))


@pytest.mark.parametrize("made", ALL)
@pytest.mark.parametrize("key", [SECRET, SecretStr(SECRET), functools.partial(str, SECRET)])
def test_a_key_of_any_kind_is_sent_and_never_shown(fake: FakeServer, made, key):
    adapter = made(target=fake.target, api_key=key)
    SYNC[made](adapter)
    assert keys_seen(fake)[-1] == SECRET
    dumped = adapter.model_dump(exclude={"callback_manager"}, mode="json")
    shown = [repr(adapter), str(adapter), json.dumps(dumped), str(adapter.model_dump())]
    shown.append(dumps(adapter))
    if hasattr(adapter, "to_dict"):
        shown += [str(adapter.to_dict()), adapter.to_json()]
    shown.append(json.dumps(made.model_json_schema()))
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize("made", [*ALL, qwire.Client, qwire.AsyncClient])
def test_an_empty_key_is_no_key(fake: FakeServer, monkeypatch, made):
    """Not even that of the environment."""
    monkeypatch.setenv("QWIRE_API_KEY", SECRET)
    adapter = made(target=fake.target, api_key="")
    if made in SYNC:
        SYNC[made](adapter)
    elif made is qwire.Client:
        adapter.embed(["a"])
    else:
        asyncio.run(adapter.embed(["a"]))
    assert not any(keys_seen(fake))


async def _async_key():
    return SECRET


@pytest.mark.parametrize("made", [*ALL, qwire.Client, qwire.AsyncClient])
@pytest.mark.parametrize("key", [_async_key, 5, SECRET + "\n"])
def test_a_key_that_cannot_be_sent_is_refused_at_once(made, key):
    with pytest.raises(ValueError, match="api_key") as caught:
        made(api_key=key)
    assert SECRET not in str(caught.value)


# -- numbers


def numeric_fields(made):
    for name, field in made.model_fields.items():
        if {"int", "float"} & {part.strip() for part in str(field.annotation).split("|")} or (
            field.annotation in {int, float}
        ):
            yield name, field


@pytest.mark.parametrize(
    ("made", "name"), [(made, name) for made in ALL for name, _ in numeric_fields(made)]
)
def test_a_number_may_be_a_string(made, name):
    """As it comes from the environment."""
    adapter = made(**{name: "3"})
    assert getattr(adapter, name) == 3
    assert not isinstance(getattr(adapter, name), str)
    with pytest.raises(ValidationError, match=name):
        made(**{name: "three"})


@pytest.mark.parametrize("made", ALL)
def test_the_numbers_of_all_are_tried(made):
    assert {"timeout", "max_attempts", "max_concurrency"} <= {n for n, _ in numeric_fields(made)}


@pytest.mark.parametrize("made", ALL)
@pytest.mark.parametrize("retries", ["3", 3, 3.0, " 3 "])
def test_max_retries_is_read_as_other_numbers_are(made, retries):
    assert made(max_retries=retries).max_attempts == 4
    assert made(max_retries=None).max_attempts == 4
    assert made(max_retries="0").max_attempts == 1


@pytest.mark.parametrize("made", ALL)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_retries": "many"}, "max_retries"),
        ({"max_retries": 1.5}, "max_retries"),
        ({"max_retries": []}, "max_retries"),
        ({"max_retries": -1}, "max_attempts"),
        ({"max_retries": 1, "max_attempts": 1}, "one setting"),
    ],
)
def test_max_retries_that_is_no_number_is_named(made, wrong, said):
    with pytest.raises(ValidationError, match=said):
        made(**wrong)


# -- the cross-encoder


@pytest.mark.parametrize("settings", [{"top_n": 3}, {"top_n": "1"}, {"score_threshold": 1.0}])
def test_a_cross_encoder_scores_every_pair_whatever_the_settings_of_a_reranker(fake, settings):
    pairs = [("q", str(number)) for number in range(-5, 5)]
    plain = QwireCrossEncoder(target=fake.target).score(pairs)
    assert QwireCrossEncoder(target=fake.target, **settings).score(pairs) == plain
    assert all(plain)


# -- warnings


def here():
    return inspect.currentframe().f_back.f_lineno


def recorded(act):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [(each.filename, each.lineno, str(each.message)) for each in caught]


@pytest.mark.parametrize("made", [*ALL, qwire.Client, qwire.AsyncClient])
@pytest.mark.parametrize("key", ["k", lambda: "k"], ids=["key", "function"])
def test_a_key_in_the_clear_is_warned_about_once_at_the_callers_line(made, key):
    target = f"{made.__name__}-{isinstance(key, str)}.example:50051".lower()
    lines = []

    def act():
        lines.append(here() + 1)
        made(target=target, api_key=key)
        made(target=target, api_key=key)

    said = f"the API key goes to {target} unencrypted: use grpcs:// or tls=True"
    assert recorded(act) == [(__file__, lines[0], said)]


def test_a_warning_that_was_made_an_error_comes_again():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(UserWarning, match="unencrypted"):
                qwire.Client("error.example", api_key="k")


@pytest.mark.parametrize("made", ALL)
def test_texts_that_were_cut_are_told_at_the_callers_line(fake: FakeServer, made):
    adapter = made(target=fake.target)
    nodes = [NodeWithScore(node=TextNode(text="xx"))]
    calls: dict[type, list[Any]] = {
        QwireEmbeddings: [
            lambda: adapter.embed_documents(["xx"]),
            lambda: asyncio.run(adapter.aembed_query("xx")),
        ],
        QwireReranker: [
            lambda: adapter.compress_documents([Document("xx")], "q"),
            lambda: asyncio.run(adapter.acompress_documents([Document("xx")], "q")),
        ],
        QwireCrossEncoder: [lambda: adapter.score([("q", "xx")])],
        QwireEmbedding: [
            lambda: adapter.get_text_embedding_batch(["xx"]),
            lambda: asyncio.run(adapter.aget_query_embedding("xx")),
        ],
        QwireRerank: [
            lambda: adapter.postprocess_nodes(nodes, query_str="q"),
            lambda: asyncio.run(adapter.apostprocess_nodes(nodes, query_str="q")),
        ],
    }
    for call in calls[made]:
        with pytest.warns(TextsCutWarning) as told:
            call()
        assert [(each.filename, each.lineno) for each in told] == [
            (__file__, call.__code__.co_firstlineno)
        ]


# -- expected_fingerprint


@pytest.mark.parametrize("made", [QwireEmbeddings, QwireEmbedding])
def test_the_first_answer_decides_in_both_frameworks(fake: FakeServer, made):
    """Sync, async and query alike; setting it to None again ends that."""
    adapter = made(target=fake.target)
    assert adapter.expected_fingerprint is None
    QUERIES[made](adapter)
    assert adapter.expected_fingerprint == "fake-1"
    fake.fingerprint = "fake-2"
    with pytest.raises(qwire.FingerprintMismatchError):
        SYNC[made](adapter)
    with pytest.raises(qwire.FingerprintMismatchError):
        asyncio.run(ASYNC[made](adapter))
    adapter.expected_fingerprint = None
    SYNC[made](adapter)
    assert adapter.expected_fingerprint == "fake-2"


def test_a_program_that_imports_an_adapter_says_where_its_key_goes(tmp_path):
    """In a process of its own, with Python's own filters: the line of the program, once."""
    program = tmp_path / "program.py"
    program.write_text(
        "from langchain_qwire import QwireEmbeddings\n"
        "for _ in range(3):\n"
        "    QwireEmbeddings(target='gpu.example', api_key='k')\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ran = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=True, env=env
    )
    assert ran.stderr.count("unencrypted") == 1
    assert f"{program}:3: UserWarning" in ran.stderr
