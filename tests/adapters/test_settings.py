"""Both adapters: names, errors, warnings, secrets, copies."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import warnings
from typing import TYPE_CHECKING

import langchain_qwire
import pytest
from llama_index.embeddings import qwire as llama_index_qwire
from pydantic import ValidationError

import qwire
from qwire import advice
from qwire.advice import TextsCutWarning, UnknownTokensWarning

if TYPE_CHECKING:
    from support.fake_server import FakeServer

SECRET = "s3cret-value"
CHINESE = ["数据库崩溃了怎么办", "如何申请退款", "合同什么时候到期"]


# -- names


def test_other_names_are_accepted(adapter):
    """Those that LangChain's and LlamaIndex's other classes use."""
    embedding = adapter(
        model_name="m",
        base_url="localhost:1",
        document_instruction="d",
        default_headers={"x-tenant": "a"},
        request_timeout=5,
        max_retries=0,
    ).embedding
    assert getattr(embedding, adapter.model) == "m"
    assert getattr(embedding, adapter.documents) == "d"
    assert embedding.target == "localhost:1"
    assert embedding.metadata == {"x-tenant": "a"}
    assert (embedding.timeout, embedding.max_attempts) == (5, 1)
    assert adapter(model="m", text_instruction="d", target="localhost:1", max_attempts=2)


def test_langchain_has_names_of_its_own():
    embedding = langchain_qwire.QwireEmbeddings(chunk_size=7, show_progress_bar=True)
    assert (embedding.batch_size, embedding.show_progress) == (7, True)


@pytest.mark.parametrize("word", ["END", "Start", "none"])
def test_truncate_is_read_in_any_case(adapter, word):
    assert adapter(truncate=word).embedding.truncate == word.lower()


@pytest.mark.parametrize(
    ("foreign", "instead"),
    [
        ({"encode_kwargs": {"normalize_embeddings": True}}, "normalize"),
        ({"query_encode_kwargs": {"prompt_name": "query"}}, "query_instruction"),
        ({"prompt_name": "query"}, "query_instruction"),
        ({"model_kwargs": {"device": "cuda"}}, "--device"),
        ({"check_embedding_ctx_length": False}, "truncate"),
        ({"tiktoken_model_name": "cl100k"}, "truncate"),
        ({"embedding_ctx_length": 8191}, "truncate"),
        ({"openai_api_key": SECRET}, "QWIRE_API_KEY"),
        ({"openai_api_base": "http://x"}, "target"),
        ({"multi_process": True}, "max_concurrency"),
        ({"cache_folder": "/tmp"}, "HF_HOME"),
        ({"huggingfacehub_api_token": SECRET}, "api_key"),
    ],
)
def test_parameters_of_other_classes_are_answered(adapter, foreign, instead):
    """With what replaces each; the value is not repeated, it may be a secret."""
    with pytest.raises(ValueError, match=instead) as caught:
        adapter(**foreign)
    assert next(iter(foreign)) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_no_field_is_answered_as_foreign(adapter):
    for name, field in adapter.made().model_fields.items():
        other = getattr(field.validation_alias, "choices", ())
        assert not {name, *other} & set(advice._REPLACED_BY)


def test_the_answer_uses_the_names_of_the_class(adapter):
    with pytest.raises(ValueError, match=f"{adapter.batch} and {adapter.documents}"):
        adapter(encode_kwargs={})


def test_an_unknown_parameter_is_refused(adapter):
    with pytest.raises(ValidationError, match="dimension\n"):
        adapter(dimension=32)


def test_defaults_come_from_the_environment(adapter, monkeypatch):
    monkeypatch.setenv("QWIRE_TARGET", "grpcs://embeddings.example:443")
    monkeypatch.setenv("QWIRE_API_KEY", SECRET)
    embedding = adapter().embedding
    assert embedding.target == "grpcs://embeddings.example:443"
    assert embedding.api_key.get_secret_value() == SECRET
    monkeypatch.setenv("QWIRE_TARGET", "")
    monkeypatch.setenv("QWIRE_API_KEY", "")
    embedding = adapter().embedding
    assert (embedding.target, embedding.api_key) == ("localhost:50051", None)


# -- errors


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"target": "http://localhost:8000"}, "localhost:50051"),
        ({"dimensions": 0}, "dimensions"),
        ({"truncate": "middle"}, "truncate"),
        ({"timeout": 0}, "timeout"),
        ({"max_attempts": 0}, "max_attempts"),
    ],
)
def test_a_bad_setting_is_refused_at_once(adapter, field, said):
    with pytest.raises(ValueError, match=said):
        adapter(**field)


def test_dimensions_out_of_range_name_the_range(adapter, demo_server):
    with pytest.raises(qwire.InvalidDimensionsError, match="384"):
        adapter(target=demo_server, dimensions=128).embed(["a"])


def test_another_model_is_refused(adapter, demo_server):
    with pytest.raises(qwire.ModelNotFoundError, match="MiniLM"):
        adapter(target=demo_server, model="Qwen/Qwen3-Embedding-0.6B").ask("a")
    assert adapter(target=demo_server, model="ALL-minilm-l6-v2").ask("a")


def test_other_vectors_are_refused(adapter, demo_server):
    with pytest.raises(qwire.FingerprintMismatchError):
        adapter(target=demo_server, expected_fingerprint="another").ask("a")


def test_a_text_that_is_none_is_named(adapter, fake: FakeServer):
    with pytest.raises(qwire.InvalidTextError) as caught:
        adapter(target=fake.target).embed(["a", b"b"])
    assert caught.value.index == 1


# -- warnings


def test_texts_that_are_cut_are_counted_in_one_warning(adapter, demo_server):
    texts = ["word " * 300, "short", "word " * 400]
    embedding = adapter(target=demo_server)
    with pytest.warns(TextsCutWarning) as told:
        embedding.embed(texts)
    assert len(told) == 1
    # 254 words fit beside two special tokens.
    assert "2 of 3 texts" in str(told[0].message)
    assert "192 tokens left out, 146 of one text at most" in str(told[0].message)
    with pytest.warns(TextsCutWarning, match="1 of 1 texts"):
        asyncio.run(embedding.aask(texts[0]))


def test_texts_too_long_can_be_refused(adapter, demo_server):
    with pytest.raises(qwire.TextTooLongError):
        adapter(target=demo_server, truncate="NONE").embed(["word " * 300])


def test_a_language_that_the_model_cannot_read_is_told_once(adapter, demo_server):
    embedding = adapter(target=demo_server)
    with pytest.warns(UnknownTokensWarning) as told:
        embedding.embed(CHINESE)
    assert len(told) == 1
    embedding.embed(CHINESE)
    embedding.ask(CHINESE[0])
    asyncio.run(embedding.aask(CHINESE[0]))
    assert "qwire serve --model Qwen/Qwen3-Embedding-0.6B" in str(told[0].message)


def test_a_few_unknown_tokens_are_none_of_the_users_business(adapter, fake: FakeServer):
    """A fifth is the bound."""
    adapter(target=fake.target).embed(["aaaaz", "aaaa"])


def test_a_model_that_reads_the_language_is_not_blamed(adapter, qwen_server):
    adapter(target=qwen_server).embed(CHINESE)


def test_the_warnings_can_be_imported_from_the_adapters():
    for package in (langchain_qwire, llama_index_qwire):
        assert package.TextsCutWarning is TextsCutWarning
        assert issubclass(package.UnknownTokensWarning, package.QwireWarning)
        assert set(package.__all__) <= set(vars(package))
        assert package.__version__ == qwire.__version__


# -- secrets


def test_secrets_are_in_no_representation(adapter, fake: FakeServer):
    key = "-----BEGIN KEY " + SECRET
    embedding = adapter(target=fake.target, api_key=SECRET, metadata={"x-token": SECRET}).embedding
    shown = [repr(embedding), str(embedding), str(embedding.model_dump())]
    shown.append(json.dumps(embedding.model_dump(exclude={"callback_manager"}, mode="json")))
    if isinstance(embedding, llama_index_qwire.QwireEmbedding):
        shown += [str(embedding.to_dict()), embedding.to_json(), str(embedding.to_payload())]
    assert not [text for text in shown if SECRET in text]
    with pytest.raises(ValidationError) as caught:
        adapter(client_key=key, api_key=SECRET)
    assert SECRET not in str(caught.value)


def test_key_and_headers_are_sent(adapter, fake: FakeServer):
    embedding = adapter(target=fake.target, api_key=SECRET, metadata={"X-Tenant": "a"})
    embedding.ask("hello")
    asyncio.run(embedding.aask("hello"))
    for seen in fake.seen[-2:]:
        assert seen.metadata["authorization"] == f"Bearer {SECRET}"
        assert seen.metadata["x-tenant"] == "a"
        assert seen.metadata["user-agent"].startswith(("langchain-qwire/", "llama-index-embeddin"))


# -- copies


@pytest.mark.parametrize(
    "copied",
    [
        lambda it: pickle.loads(pickle.dumps(it)),
        copy.deepcopy,
        copy.copy,
        lambda it: it.model_copy(update={"timeout": 7.0}),
        lambda it: it.model_copy(deep=True),
    ],
    ids=["pickle", "deepcopy", "copy", "model_copy", "model_copy_deep"],
)
def test_copies_work_as_the_original_does(adapter, fake: FakeServer, copied):
    """After use as before it, with the key."""
    original = adapter(target=fake.target, api_key=SECRET, dimensions=8)
    other = adapter()
    for _ in range(2):
        other.embedding = copied(original.embedding)
        assert other.ask("hello") == original.ask("hello")
        assert asyncio.run(other.aask("hello")) == original.ask("hello")
        assert fake.seen[-1].metadata["authorization"] == f"Bearer {SECRET}"


def test_a_field_that_is_assigned_to_takes_effect(adapter, fake: FakeServer):
    embedding = adapter(target="localhost:1")
    embedding.embedding.target = fake.target
    embedding.embedding.dimensions = 4
    assert len(embedding.ask("hello")) == 4
    moved = adapter()
    moved.embedding = embedding.embedding.model_copy(update={"target": "localhost:1"})
    moved.embedding.max_attempts = 1
    with pytest.raises(qwire.ConnectionFailedError):
        moved.ask("hello")


def test_making_one_connects_to_nothing(adapter):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapter(target="nowhere.invalid:1", model="any", dimensions=10**6)
