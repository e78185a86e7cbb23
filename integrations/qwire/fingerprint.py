"""How a fingerprint is spelled, and what differs between two of them.

`<format>-<content>-<dtype>-<pooling>-<token limit>-<prompts>`, such as
`2-0f3c6a1b9d5e7c24-bfloat16-last-32768-1c9e05d2`. Anything else, from another version or another
server, can only be compared as a whole.
"""

from __future__ import annotations

import re
from typing import NamedTuple

FORMAT = "2"
_OLD = re.compile(r"[0-9a-f]{16}")  # the form before the formats were numbered
_SCORE = "score"  # in the place of the pooling: of a reranker


class Fingerprint(NamedTuple):
    """The parts of a fingerprint.

    Attributes:
        content: digest of weights, config.json and tokenizer.
        dtype: name of the dtype, as in `--dtype`.
        pooling: last, mean or cls; "score" of a reranker.
        max_tokens: token limit of one text.
        prompts: digest of what is put before texts.
    """

    format: str
    content: str
    dtype: str
    pooling: str
    max_tokens: str
    prompts: str

    def __str__(self) -> str:
        return "-".join(self)


def parse_fingerprint(text: str) -> Fingerprint | None:
    """The parts of a fingerprint; None of one in another form."""
    parts = text.split("-")
    if len(parts) != len(Fingerprint._fields) or parts[0] != FORMAT or not all(parts):
        return None
    return Fingerprint(*parts)


def difference(expected: str, served: str) -> str:
    """The parts that differ between two fingerprints, in words; empty if that is unknown.

    Args:
        expected: fingerprint of the vectors that the caller has.
        served: fingerprint of the vectors that the server makes now.
    """
    before, now = parse_fingerprint(expected), parse_fingerprint(served)
    if before and now:
        return _parts(before, now)
    if now and _OLD.fullmatch(expected):
        return (
            "the expected one was made by an earlier version of Qwire, whose fingerprints cannot "
            "be compared with those of this one"
        )
    if before and _OLD.fullmatch(served):
        return "the served one was made by an earlier version of Qwire"
    return ""


def _parts(before: Fingerprint, now: Fingerprint) -> str:
    if (before.pooling == _SCORE) != (now.pooling == _SCORE):
        return "one is of a reranker, the other of an embedding model"
    found = []
    if before.content != now.content:
        found.append("the content differs (weights, config.json or tokenizer)")
    if before.dtype != now.dtype:
        only = (
            "only the dtype differs" if before[3:] == now[3:] and not found else "the dtype differs"
        )
        found.append(
            f"{only} ({before.dtype} expected, {now.dtype} served): serve with --dtype "
            f"{before.dtype}"
        )
    if before.pooling != now.pooling:
        found.append(f"the pooling differs ({before.pooling} expected, {now.pooling} served)")
    if before.max_tokens != now.max_tokens:
        found.append(
            f"the token limit differs ({before.max_tokens} expected, {now.max_tokens} served)"
        )
    if before.prompts != now.prompts:
        found.append("the prompts differ")
    return "; ".join(found)
