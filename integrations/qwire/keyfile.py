"""The file of API keys, as people read and edit it: TOML, one `[[key]]` table for each key.

`qwire key` writes it and the server reads it. It holds no secret: of each key its public id and the
SHA-256 of its secret. Changes are made in the text, so that comments stay. Knows no file system.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import secrets
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SCOPES = ("embed", "rerank", "metrics")
HEAD = """\
# API keys of `qwire serve`: made by `qwire key new`, taken up within seconds of a change.
# A key's secret is not here, only the SHA-256 of it.
"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADER = re.compile(r"\s*\[\[\s*key\s*\]\]\s*(#.*)?")
_NOT_OURS = re.compile(r"\s*(#.*)?")  # a comment, or nothing


@dataclass(frozen=True)
class Entry:
    """One key.

    Attributes:
        name: for people; the server's logs and quotas know the client by it.
        id: public half of the key.
        sha256: of the secret half, in lower-case hexadecimal.
        scopes: some of `SCOPES`; one at least.
        tokens_per_minute: of this client; None is the server's own setting.
        streams: open at once; None is the server's own setting.
        created: when; None if the file does not say.
    """

    name: str
    id: str
    sha256: str
    scopes: tuple[str, ...]
    tokens_per_minute: int | None = None
    streams: int | None = None
    created: datetime | None = None

    def __post_init__(self) -> None:
        _check(self)


def made(
    name: str,
    scopes: tuple[str, ...],
    created: datetime,
    *,
    tokens_per_minute: int | None = None,
    streams: int | None = None,
) -> tuple[Entry, str]:
    """A new key: what the file keeps of it, and the key itself, which nothing keeps.

    Raises:
        ValueError: a field is not what it should be.
    """
    # The id begins with letters, so that keys are found by programs that look for lost secrets.
    key_id, secret = "qk" + secrets.token_hex(6), secrets.token_urlsafe(32)
    sha256 = hashlib.sha256(secret.encode()).hexdigest()
    created = created.replace(microsecond=0)
    entry = Entry(name, key_id, sha256, scopes, tokens_per_minute, streams, created)
    return entry, f"{key_id}.{secret}"


def parse(text: str) -> list[Entry]:
    """The keys of a file.

    Raises:
        ValueError: it is no such file; the sentence says where, and repeats no digest.
        ModuleNotFoundError: on Python 3.10, without tomli, which `qwire[server]` brings.
    """
    content = _toml(text)
    if unknown := set(content) - {"key"}:
        raise ValueError(f"{min(unknown)!r} is nothing that a file of keys has: only [[key]] is")
    tables = content.get("key", [])
    if not isinstance(tables, list):
        raise ValueError("each key begins with [[key]], in two pairs of brackets")  # noqa: TRY004
    entries = [_entry(place, table) for place, table in enumerate(tables, 1)]
    for field in ("name", "id"):
        times = Counter(getattr(entry, field) for entry in entries)
        if twice := [value for value, count in times.items() if count > 1]:
            raise ValueError(f"two keys have the {field} {min(twice)!r}")
    return entries


def with_entry(text: str, entry: Entry) -> str:
    """The file with one more key at its end.

    Raises:
        ValueError: the file is wrong, or has a key of that name.
    """
    before = parse(text)
    if entry.name in {other.name for other in before}:
        raise ValueError(f"there is a key named {entry.name!r}: revoke it, or take another name")
    whole = (text.rstrip() or HEAD.rstrip()) + "\n\n" + _written(entry)
    return _checked(whole, [*before, entry])


def without_entry(text: str, entry: Entry) -> str:
    """The file without one of its keys; comments before and after it stay.

    Raises:
        ValueError: the file is wrong, or laid out in a way that needs an editor.
    """
    before = parse(text)
    lines = text.splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if _HEADER.fullmatch(line.rstrip("\r\n"))]
    if len(starts) == len(before):
        place = before.index(entry)
        end = [*starts, len(lines)][place + 1]
        while _NOT_OURS.fullmatch(lines[end - 1].rstrip("\r\n")):
            end -= 1
        if not "".join(lines[end : end + 1]).strip():
            end += 1  # of the empty lines around it one is enough
        lines[starts[place] : end] = []
    return _checked("".join(lines), [other for other in before if other != entry])


def _toml(text: str) -> dict[str, Any]:
    # Not above: a client must import without tomli.
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        content: dict[str, Any] = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from None
    return content


def _checked(text: str, expected: list[Entry]) -> str:
    """A changed text, once it is sure to say what it should and nothing else."""
    if parse(text) != expected:
        raise ValueError("its layout is not one that can be changed here: use an editor")
    return text


def _written(entry: Entry) -> str:
    scopes = ", ".join(f'"{scope}"' for scope in entry.scopes)
    lines = [
        "[[key]]",
        f'name = "{entry.name}"',
        f'id = "{entry.id}"',
        f'sha256 = "{entry.sha256}"',
        f"scopes = [{scopes}]",
    ]
    quota = {"tokens_per_minute": entry.tokens_per_minute, "streams": entry.streams}
    lines += [f"{field} = {value}" for field, value in quota.items() if value is not None]
    if entry.created is not None:
        lines.append(f"created = {entry.created.isoformat()}")
    return "\n".join(lines) + "\n"


def _entry(place: int, table: Any) -> Entry:
    """One table, checked."""
    where = f"key {place}"
    if not isinstance(table, dict):
        raise ValueError(f"{where} is not a table")  # noqa: TRY004  of a file, not of a program
    if isinstance(table.get("name"), str) and _NAME.fullmatch(table["name"]):
        where = f"key {table['name']!r}"
    fields = Entry.__dataclass_fields__
    for name in table:
        if name not in fields:
            raise ValueError(f"{where} has {name!r}, which no key has: {', '.join(fields)}")
    for name in ("name", "id", "sha256", "scopes"):
        if name not in table:
            raise ValueError(f"{where} has no {name}")
    scopes = table["scopes"]
    try:
        return Entry(**table | {"scopes": tuple(scopes) if isinstance(scopes, list) else scopes})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _check(entry: Entry) -> None:
    for field, form, told in (
        ("name", _NAME, "letters, digits, '.', '_' and '-', at most 64"),
        ("id", _ID, "letters, digits, '_' and '-', at most 64"),
        ("sha256", _SHA256, "64 digits of lower-case hexadecimal"),
    ):
        value = getattr(entry, field)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError(f"{field} is not what it should be: {told}")
    if not isinstance(entry.scopes, tuple) or not entry.scopes:
        raise ValueError(f"scopes is not a list of some of {', '.join(SCOPES)}")
    for scope in entry.scopes:
        if scope not in SCOPES:
            raise ValueError(f"a scope is not one of {', '.join(SCOPES)}")
    if len(set(entry.scopes)) < len(entry.scopes):
        raise ValueError("a scope is there twice")
    for field in ("tokens_per_minute", "streams"):
        value = getattr(entry, field)
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"{field} is not a number above 0")
    if entry.created is not None and not isinstance(entry.created, datetime):
        raise ValueError("created is not a date and time")
