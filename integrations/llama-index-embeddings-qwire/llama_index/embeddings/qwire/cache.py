"""Keeps LlamaIndex's `embeddings_cache` from mixing vectors. Knows nothing about servers.

LlamaIndex looks vectors up by the raw text, in one collection: a document's vector would be given
for a query of the same words, and another model's for this one's. So LlamaIndex is shown a store
that never has anything, and the embedding class asks the real one by keys that tell them apart.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.storage.kvstore.types import BaseKVStore

_COLLECTION = "embeddings"  # LlamaIndex's own, so that whoever empties it empties ours
_FIELD = "embedding"


class GuardedCache(BaseKVStore):
    """Stands in for a store: empty to `get`, deaf to `put`; `complete` uses it.

    Attributes:
        store: the one that the user gave.
    """

    def __init__(self, store: BaseKVStore) -> None:
        self.store = store

    def complete(
        self,
        options: Mapping[str, Any],
        texts: Sequence[str],
        ask: Callable[[list[str]], list[Embedding]],
    ) -> list[Embedding]:
        """The vectors of all texts: those in the store, and those that `ask` gives for the rest.

        Args:
            options: all that decides the vector of a text, the model included.
            texts: in order.
            ask: embeds texts, in order.
        """
        keys = [_key(options, text) for text in texts]
        found = [_vector(self.store.get(key, collection=_COLLECTION)) for key in keys]
        missing = _missing(keys, texts, found)
        fresh = dict(zip(missing, ask(list(missing.values())), strict=True))
        for key, vector in fresh.items():
            self.store.put(key, {_FIELD: vector}, collection=_COLLECTION)
        return _merge(keys, found, fresh)

    async def acomplete(
        self,
        options: Mapping[str, Any],
        texts: Sequence[str],
        ask: Callable[[list[str]], Awaitable[list[Embedding]]],
    ) -> list[Embedding]:
        """As `complete`."""
        keys = [_key(options, text) for text in texts]
        found = [_vector(await self.store.aget(key, collection=_COLLECTION)) for key in keys]
        missing = _missing(keys, texts, found)
        fresh = dict(zip(missing, await ask(list(missing.values())), strict=True))
        for key, vector in fresh.items():
            await self.store.aput(key, {_FIELD: vector}, collection=_COLLECTION)
        return _merge(keys, found, fresh)

    def get(self, key: str, collection: str = _COLLECTION) -> dict[str, Any] | None:  # noqa: ARG002
        """Nothing: LlamaIndex asks by the text alone."""
        return None

    async def aget(self, key: str, collection: str = _COLLECTION) -> dict[str, Any] | None:
        """Nothing: LlamaIndex asks by the text alone."""
        return self.get(key, collection)

    def put(self, key: str, val: dict[str, Any], collection: str = _COLLECTION) -> None:
        """Drop what LlamaIndex would store by the text alone."""

    async def aput(self, key: str, val: dict[str, Any], collection: str = _COLLECTION) -> None:
        """Drop what LlamaIndex would store by the text alone."""

    def get_all(self, collection: str = _COLLECTION) -> dict[str, dict[str, Any]]:
        """All that the real store has."""
        return self.store.get_all(collection)

    async def aget_all(self, collection: str = _COLLECTION) -> dict[str, dict[str, Any]]:
        """All that the real store has."""
        return await self.store.aget_all(collection)

    def delete(self, key: str, collection: str = _COLLECTION) -> bool:
        """Delete from the real store."""
        return self.store.delete(key, collection)

    async def adelete(self, key: str, collection: str = _COLLECTION) -> bool:
        """Delete from the real store."""
        return await self.store.adelete(key, collection)


def guard(store: Any) -> Any:
    """The stand-in for a store; anything else, and a stand-in, as it is."""
    plain = isinstance(store, BaseKVStore) and not isinstance(store, GuardedCache)
    return GuardedCache(store) if plain else store


def _key(options: Mapping[str, Any], text: str) -> str:
    told = json.dumps([options, text], sort_keys=True)
    return f"qwire-{hashlib.sha256(told.encode()).hexdigest()}"


def _vector(found: dict[str, Any] | None) -> Embedding | None:
    return None if found is None else found[_FIELD]


def _missing(
    keys: Sequence[str], texts: Sequence[str], found: Sequence[Embedding | None]
) -> dict[str, str]:
    """The texts that no vector was found for, once each, by key."""
    told = zip(keys, texts, found, strict=True)
    return {key: text for key, text, vector in told if vector is None}


def _merge(
    keys: Sequence[str], found: Sequence[Embedding | None], fresh: Mapping[str, Embedding]
) -> list[Embedding]:
    """All vectors in order: those found, and the fresh ones where there was none."""
    pairs = zip(keys, found, strict=True)
    return [fresh[key] if vector is None else vector for key, vector in pairs]
