"""The file of keys, in its text; nothing is served."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone

import pytest

from qwire import keyfile
from qwire.keyfile import parse, with_entry, without_entry

NOW = datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=timezone.utc)
SHA256 = "ab" * 32
GOOD = f"""\
# Ours.

[[key]]  # of the night job
name = "ingest"
id = "qk1"
sha256 = "{SHA256}"
scopes = [
  "embed",  # no reranking
]

# Ask Ann before you touch this one.
[[key]]
name = "page"
id = "qk2"
sha256 = "{SHA256}"
scopes = ["embed", "rerank"]
streams = 4
tokens_per_minute = 600000
created = 2026-11-22T12:00:00Z
# Until March.
"""


def made(name: str, **quota: int):
    return keyfile.made(name, ("embed",), NOW, **quota)


def test_a_key_is_an_id_and_256_random_bits_of_which_the_file_has_the_digest():
    (one, key), (other, _) = made("a"), made("b")
    key_id, _, secret = key.partition(".")
    assert key_id == one.id != other.id
    assert len(secret) == 43  # 256 bits in base64url
    assert one.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in with_entry("", one)


def test_what_is_written_is_read_again():
    entries = [made("a")[0], made("b", tokens_per_minute=10, streams=2)[0]]
    text = ""
    for entry in entries:
        text = with_entry(text, entry)
    assert parse(text) == entries
    assert text.startswith("#")
    assert [entry.name for entry in parse(GOOD)] == ["ingest", "page"]
    assert parse("") == parse("# nothing yet\n") == []


def test_comments_of_others_stay_when_a_key_is_added():
    entry = made("new")[0]
    text = with_entry(GOOD, entry)
    assert text.startswith(GOOD)
    assert parse(text) == [*parse(GOOD), entry]


def test_comments_of_others_stay_when_a_key_is_revoked():
    ingest, page = parse(GOOD)
    without_ingest, without_page = without_entry(GOOD, ingest), without_entry(GOOD, page)
    assert parse(without_ingest) == [page]
    assert parse(without_page) == [ingest]
    for line in ("# Ours.", "# Ask Ann before you touch this one.", "# Until March."):
        assert line in without_ingest
        assert line in without_page
    assert "of the night job" not in without_ingest  # it stood within the key
    assert without_ingest.count("\n\n") == 1
    assert parse(without_entry(without_page, ingest)) == []


def test_a_layout_that_cannot_be_changed_line_by_line_is_left_alone():
    text = f'key = [{{name = "a", id = "qk1", sha256 = "{SHA256}", scopes = ["embed"]}}]\n'
    (entry,) = parse(text)
    for change in (lambda: without_entry(text, entry), lambda: with_entry(text, made("b")[0])):
        with pytest.raises(ValueError, match=r"editor|not TOML"):
            change()


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="there is a key named 'page'"):
        with_entry(GOOD, made("page")[0])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[[key]]  #", "[key]  #", "not TOML"),
        ("# Ours.", "[server]", "'server' is nothing"),
        ('name = "ingest"', "", "key 1 has no name"),
        ('name = "ingest"', 'name = "a b"', "key 1: name is not"),
        ('name = "ingest"', "name = 3", "key 1: name is not"),
        ('name = "ingest"', 'name = "page"', "two keys have the name 'page'"),
        ('id = "qk1"', 'id = "qk2"', "two keys have the id 'qk2'"),
        ('id = "qk1"', 'id = "a.b"', "key 'ingest': id is not"),
        ('id = "qk1"', 'secret = "x"', "key 'ingest' has 'secret', which no key has"),
        (SHA256, SHA256[:-1], "sha256 is not what it should be"),
        (SHA256, SHA256.upper(), "sha256 is not what it should be"),
        ('"embed",  # no', '"admin",  # no', "a scope is not one of embed, rerank, metrics"),
        ('["embed", "rerank"]', "[]", "key 'page': scopes"),
        ('["embed", "rerank"]', '"embed"', "key 'page': scopes"),
        ('["embed", "rerank"]', '["embed", "embed"]', "twice"),
        ('["embed", "rerank"]', "[[1]]", "a scope is not one"),
        ("streams = 4", "streams = 0", "streams is not a number above 0"),
        ("streams = 4", "streams = true", "streams is not a number above 0"),
        ("600000", '"600000"', "tokens_per_minute is not a number"),
        ("2026-11-22T12:00:00Z", "2026-11-22", "created is not"),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_no_digest_is_repeated(old: str, new: str, said: str):
    assert old in GOOD
    with pytest.raises(ValueError, match=said.replace("[", r"\[")) as error:
        parse(GOOD.replace(old, new, 1))
    assert SHA256[:-1].lower() not in str(error.value).lower()


def test_a_file_of_many_keys_is_read_in_a_time_that_grows_as_they_do():
    """Each comparison of an id or a name is one look-up: 10,000 keys took seconds."""

    class Counted(str):  # noqa: SLOT000  it has one for all
        compared = 0

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    count = 2000
    tables = [
        {"name": Counted(f"n{i}"), "id": Counted(f"qk{i}"), "sha256": "0" * 64, "scopes": ["embed"]}
        for i in range(count)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyfile, "_toml", lambda _: {"key": tables})
        assert len(keyfile.parse("")) == count
    assert Counted.compared < 20 * count
