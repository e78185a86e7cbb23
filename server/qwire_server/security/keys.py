"""API keys: those of a file, and which of them a caller has. Knows no protocol."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire import keyfile

if TYPE_CHECKING:
    from collections.abc import Iterable

# Compared with where no key has the id, so that this takes as long; no secret has this digest that
# anybody could find.
_NOBODYS = bytes(32)


@dataclass(frozen=True, slots=True)
class Key:
    """What the server knows of a key; see `qwire.keyfile.Entry`."""

    name: str
    id: str
    digest: bytes
    scopes: frozenset[str]
    tokens_per_minute: int | None = None
    streams: int | None = None

    @property
    def client(self) -> str:
        """Whose calls it makes them: in the queue, in quotas, in records."""
        return f"key:{self.name}"


class Keys:
    """All keys of a file, as it was at one time."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.by_id = {key.id: key for key in keys}
        self.by_client = {key.client: key for key in self.by_id.values()}

    def __repr__(self) -> str:
        return f"<Keys {len(self.by_id)}>"

    def find(self, token: str) -> Key | None:
        """The key that a caller has, by `id.secret`; None if it is none of these.

        Takes as long for an id that is unknown as for a secret that is wrong.
        """
        key_id, _, secret = token.partition(".")
        key = self.by_id.get(key_id)
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        is_it = hmac.compare_digest(digest, key.digest if key else _NOBODYS)
        return key if key and is_it else None


def parse(content: bytes) -> Keys:
    """The keys of a file.

    Raises:
        ValueError: it is no file of keys; the sentence holds no digest.
    """
    return Keys(
        Key(
            name=entry.name,
            id=entry.id,
            digest=bytes.fromhex(entry.sha256),
            scopes=frozenset(entry.scopes),
            tokens_per_minute=entry.tokens_per_minute,
            streams=entry.streams,
        )
        for entry in keyfile.parse(content.decode("utf-8"))
    )
