"""What differs between two fingerprints is said by its name."""

from __future__ import annotations

import pytest

from qwire import FingerprintMismatchError
from qwire.corpus.manifest import refuse_changes
from qwire.errors import InvalidRequestError
from qwire.fingerprint import Fingerprint, difference, parse_fingerprint
from qwire.results import check_fingerprint

ONE = Fingerprint("2", "0f3c6a1b9d5e7c24", "bfloat16", "last", "32768", "1c9e05d2")
OLD = "068dac82278b28cf"


def test_a_fingerprint_is_read_as_it_is_written():
    assert parse_fingerprint(str(ONE)) == ONE
    assert str(ONE) == "2-0f3c6a1b9d5e7c24-bfloat16-last-32768-1c9e05d2"


@pytest.mark.parametrize("text", ["", "f1", "fake-1", OLD, "3-a-b-c-d-e", "2-a-b-c-d", "2-----"])
def test_anything_else_has_no_parts(text: str):
    assert parse_fingerprint(text) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"content": "x"}, "the content differs (weights, config.json or tokenizer)"),
        (
            {"dtype": "float32"},
            "only the dtype differs (bfloat16 expected, float32 served): serve with --dtype bf",
        ),
        ({"pooling": "mean"}, "the pooling differs (last expected, mean served)"),
        ({"max_tokens": "512"}, "the token limit differs (32768 expected, 512 served)"),
        ({"prompts": "x"}, "the prompts differ"),
        ({"pooling": "cls", "prompts": "x"}, "the pooling differs"),
        ({"content": "x", "dtype": "float32"}, "the dtype differs"),
        ({"pooling": "score", "content": "x"}, "one is of a reranker"),
    ],
)
def test_what_differs_is_named(changes: dict[str, str], said: str):
    served = str(ONE._replace(**changes))
    assert said in difference(str(ONE), served)
    with pytest.raises(FingerprintMismatchError, match="not of") as error:
        check_fingerprint(served, str(ONE))
    assert said in str(error.value)


def test_the_dtype_is_the_only_difference_only_where_it_is():
    told = difference(str(ONE), str(ONE._replace(dtype="float32", content="x")))
    assert "only" not in told


def test_one_of_the_old_form_is_of_an_earlier_version():
    assert "made by an earlier version of Qwire" in difference(OLD, str(ONE))
    assert "made by an earlier version of Qwire" in difference(str(ONE), OLD)


@pytest.mark.parametrize(("expected", "served"), [("f1", "f2"), (OLD, "f1"), (OLD, OLD[::-1])])
def test_other_forms_are_compared_as_a_whole(expected: str, served: str):
    assert not difference(expected, served)
    with pytest.raises(FingerprintMismatchError, match="several servers"):
        check_fingerprint(served, expected)


def test_a_run_that_is_resumed_says_what_differs():
    served = str(ONE._replace(dtype="float32"))
    with pytest.raises(InvalidRequestError, match=r"only the dtype differs .* --dtype bfloat16"):
        refuse_changes({"fingerprint": str(ONE)}, {"fingerprint": served})
