"""What our packages export can be looked at: type hints, JSON schemas, the types that they name."""

from __future__ import annotations

import importlib
import inspect
import json
import typing

import pytest
from langchain_qwire import QwireCrossEncoder, QwireEmbeddings, QwireReranker
from llama_index.embeddings.qwire import QwireEmbedding
from llama_index.postprocessor.qwire import QwireRerank

PACKAGES = [
    "qwire",
    "langchain_qwire",
    "llama_index.embeddings.qwire",
    "llama_index.postprocessor.qwire",
]
ADAPTERS = [QwireEmbeddings, QwireReranker, QwireCrossEncoder, QwireEmbedding, QwireRerank]
# How a pickle carries a client: nobody calls these.
_STATE = {"__getstate__", "__setstate__"}


def is_ours(thing):
    return (getattr(thing, "__module__", None) or "").startswith(tuple(PACKAGES))


def exported(package):
    module = importlib.import_module(package)
    return {name: getattr(module, name) for name in module.__all__}


def callables(thing):
    """A class with its methods and properties, those of its own bases too; or a function."""
    yield thing
    for base in inspect.getmro(thing) if inspect.isclass(thing) else ():
        for name, value in vars(base).items() if is_ours(base) else ():
            found = getattr(
                value, "__func__", getattr(value, "fget", getattr(value, "func", value))
            )
            if inspect.isfunction(found) and is_ours(found) and name not in _STATE:
                yield found


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def types_in(hint):
    """The classes that a hint names, at any depth."""
    if inspect.isclass(hint):
        yield hint
    for part in typing.get_args(hint):
        for inner in part if isinstance(part, list) else [part]:
            yield from types_in(inner)


NAMES = [(package, name) for package in PACKAGES for name in exported(package)]


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_type_hints_resolve_and_name_exported_types_only(package, name):
    """Of the package itself, or of `qwire`, on which it stands."""
    public = {*exported(package).values()} | {*exported("qwire").values()}
    thing = exported(package)[name]
    if not callable(thing):
        assert isinstance(thing, str)  # the version
        return
    for each in callables(thing):
        hints = typing.get_type_hints(each)
        if is_private(getattr(each, "__name__", "")):
            continue
        for field, hint in hints.items():
            strange = {t for t in types_in(hint) if is_ours(t)} - public
            assert is_private(field) or not strange, (each, field)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_every_adapter_has_a_json_schema(adapter, mode):
    schema = json.loads(json.dumps(adapter.model_json_schema(mode=mode)))
    if mode == "validation":  # LlamaIndex's own serialiser says no more than that it is an object
        assert {"target", "timeout", "api_key"} <= set(schema["properties"])
