"""The policies and the arrays, without a server."""

from __future__ import annotations

import inspect
import pickle
import re

import numpy as np
import pytest

import qwire
from qwire import errors
from qwire.failures import Failure, name_index
from qwire.info import Description, Dimensions, Limits, Prompts
from qwire.results import Embeddings
from qwire.retry import delay_before_retry
from qwire.split import request_limits, split
from qwire.stream import Flow
from qwire.target import parse_target
from qwire.v1 import embedding_pb2 as pb

DOWN = Failure("UNAVAILABLE")
OVERLOADED = Failure("RESOURCE_EXHAUSTED", code="OVERLOADED", retry_after=3.0)


def delay(attempt=1, failure=DOWN, elapsed=0.0, deadline=60.0, **kwargs):
    settings = {"reached": True, "max_attempts": 4, "draw": lambda: 1.0, **kwargs}
    return delay_before_retry(attempt, failure, elapsed, deadline, **settings)


def test_pauses_double_up_to_a_cap():
    assert [delay(attempt) for attempt in range(1, 8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_pauses_have_full_jitter():
    assert delay(5, draw=lambda: 0.0) == 0.0
    assert delay(5, draw=lambda: 0.5) == 0.8


def test_a_hint_is_the_least_pause():
    assert delay(failure=OVERLOADED, draw=lambda: 0.0) == 3.0


def test_no_pause_goes_beyond_the_deadline():
    assert delay(elapsed=59.95) is None
    assert delay(failure=OVERLOADED, deadline=2) is None


def test_what_was_never_reached_is_given_up_after_a_few_tries():
    tries = [delay(attempt, reached=False) for attempt in range(1, 5)]
    assert tries == [0.1, 0.2, 0.4, None]
    assert delay(1000) == 2.0


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION",
    "UNAUTHENTICATED", "PERMISSION_DENIED", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL",
    "UNKNOWN", "RESOURCE_EXHAUSTED", "CANCELLED", "ABORTED", "DATA_LOSS"])  # fmt: skip
def test_other_failures_are_never_tried_again(status):
    assert delay(failure=Failure(status)) is None


def test_the_servers_own_internal_error_is_never_tried_again():
    lost = Failure("INTERNAL", details="Received RST_STREAM")
    assert delay(failure=lost) is not None
    assert delay(failure=Failure("INTERNAL", code="INTERNAL", details=lost.details)) is None


def test_a_list_is_cut_by_texts_and_by_bytes():
    assert list(split([1] * 5, 2, 100)) == [range(2), range(2, 4), range(4, 5)]
    assert list(split([60, 40, 1], 10, 100)) == [range(2), range(2, 3)]


def test_a_text_larger_than_a_request_goes_alone():
    assert list(split([1, 500, 1], 10, 100)) == [range(1), range(1, 2), range(2, 3)]


def test_no_texts_are_one_empty_run():
    assert list(split([], 10, 100)) == [range(0)]


def described(**limits):
    unlimited = dict.fromkeys(Limits.__dataclass_fields__, 0)
    return Description(
        "m", "", "f", "", (), Dimensions(4096, 32), 1, "last", Prompts("", "", ""), "", "",
        Limits(**{**unlimited, **limits}),
    )  # fmt: skip


def test_limits_are_the_least_of_ours_theirs_and_what_fits_a_reply():
    assert request_limits(None, None) == (64, 256 * 1024)
    assert request_limits(None, described()) == (64, 256 * 1024)
    assert request_limits(500, described(texts_per_request=100)) == (100, 256 * 1024)
    assert request_limits(None, described(bytes_per_message=1000)) == (64, 1000)
    assert request_limits(10**6, described())[0] * 4 * 4096 < 64 << 20


def test_a_message_counts_texts_as_the_caller_does():
    assert name_index("text 3 has 9 tokens", 67) == "text 67 has 9 tokens"
    assert name_index("has 9 tokens", 67) == "text 67: has 9 tokens"


def embeddings(raw=None, scales=None):
    raw = np.arange(6, dtype=np.float32).reshape(2, 3) if raw is None else raw
    counts = np.zeros(2, np.int64)
    return Embeddings(raw, scales, counts, counts, counts, 3, "f", "m")


def test_embeddings_are_usable_as_an_array():
    found = embeddings()
    assert (len(found), found.shape) == (2, (2, 3))
    np.testing.assert_array_equal(np.asarray(found), found.vectors)
    np.testing.assert_array_equal(found[1], [3, 4, 5])
    np.testing.assert_array_equal(found[:, 0], [0, 3])
    np.testing.assert_array_equal(np.stack(list(found)), found.vectors)
    np.testing.assert_array_equal(found @ np.ones(3), [3, 12]) if hasattr(
        found, "__matmul__"
    ) else 0
    assert np.dot(found, np.ones(3)).tolist() == [3, 12]


def test_an_array_is_shared_or_copied_as_numpy_asks():
    found = embeddings()
    assert found.__array__() is found.vectors
    assert not np.shares_memory(found.__array__(copy=True), found.vectors)
    assert np.array(found, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="need a copy"):
        found.__array__(np.float64, copy=False)


def test_int8_rows_are_scaled():
    raw = np.array([[127, 0, -127], [64, 1, 0]], np.int8)
    found = embeddings(raw, np.array([0.5, 2], np.float32))
    np.testing.assert_array_equal(found.vectors, [[63.5, 0, -63.5], [128, 2, 0]])
    assert found.raw is raw


ERRORS = [value for value in vars(errors).values() if inspect.isclass(value)]


@pytest.mark.parametrize("kind", [e for e in ERRORS if issubclass(e, errors.QwireError)])
def test_every_error_survives_pickling_with_all_it_carries(kind):
    error = kind("sentence", code="C", index=3, target="t", request_id="r", retry_after=1.5)
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is kind
    assert (str(twin), twin.__dict__) == ("sentence", error.__dict__)


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    drawn = {}
    path = []
    for line in errors.__doc__.splitlines():
        if found := re.match(r"([│ ├└─]*)(\w+Error)\b", line):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            drawn[found[2]] = path[-2] if depth else None
    real = {
        kind.__name__: next((b.__name__ for b in kind.__bases__ if b in ERRORS), None)
        for kind in ERRORS
        if issubclass(kind, errors.QwireError)
    }
    assert drawn == real
    assert set(real) <= set(qwire.__all__)


def test_all_names_what_is_public_and_exists():
    assert sorted(qwire.__all__) == qwire.__all__
    assert all(hasattr(qwire, name) for name in qwire.__all__)


METHODS = ["__init__", "embed", "embed_query", "embed_documents", "embed_stream", "count_tokens",
           "describe", "healthy", "close", "__repr__"]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_both_clients_have_the_same_words(method):
    sync = inspect.signature(getattr(qwire.Client, method)).parameters
    aio = inspect.signature(getattr(qwire.AsyncClient, method)).parameters
    assert list(sync) == list(aio)
    for name, parameter in sync.items():
        assert (parameter.default, parameter.kind) == (aio[name].default, aio[name].kind)


def public(kind):
    return {name for name in vars(kind) if not name.startswith("_")}


def test_neither_client_has_words_of_its_own():
    assert public(qwire.AsyncClient) - public(qwire.Client) == {"aclose"}
    assert public(qwire.Client) - public(qwire.AsyncClient) == set()


def test_embed_documents_takes_what_embed_takes():
    embed = dict(inspect.signature(qwire.Client.embed).parameters)
    embed.pop("input_type")
    documents = inspect.signature(qwire.Client.embed_documents).parameters
    assert list(embed) == list(documents)
    assert [p.default for p in embed.values()] == [p.default for p in documents.values()]


def flow(**settings):
    settings = {"ordered": None, "chunk_size": 2, "window": 10, "silence_seconds": 30, **settings}
    options = pb.EmbedOptions(encoding=pb.ENCODING_FLOAT32)
    return Flow(options, parse_target("localhost"), **settings)


def test_a_server_is_silent_only_while_it_owes_an_answer():
    state = flow()
    assert state.patience(1000) is None
    state.add("a")
    assert state.take_chunk(1000).texts == ["a"]
    assert state.patience(1010) == 20
    state.receive(pb.EmbedStreamResponse(notice=pb.NOTICE_ALIVE), 1025)
    assert state.patience(1040) == 15
    state.receive(pb.EmbedStreamResponse(errors=[pb.TextError(id=0, code=1)]), 1050)
    assert state.patience(9999) is None


def test_silence_is_a_lost_stream_that_says_so():
    state = flow()
    state.add("a")
    state.take_chunk(0)
    assert state.patience(30) <= 0
    error = state.failure("r")
    assert type(error) is qwire.StreamLostError
    assert "nothing came from localhost:50051 for 30 s" in str(error)
    assert (error.answered, error.unanswered) == (0, 1)


def test_a_chunk_goes_when_it_is_full_or_the_server_is_idle():
    state = flow()
    state.add("a")
    assert len(state.take_chunk(0).ids) == 1  # idle
    state.add("b")
    assert state.take_chunk(0) is None
    state.add("c")
    assert len(state.take_chunk(0).ids) == 2  # full
    state.add("d")
    state.end_input()
    assert len(state.take_chunk(0).ids) == 1  # no more will come


def test_a_window_smaller_than_a_chunk_still_flows():
    state = flow(window=1, chunk_size=64)
    state.add("a")
    assert not state.wants_input
    assert len(state.take_chunk(0).ids) == 1


def test_after_a_goodbye_nothing_is_sent():
    state = flow()
    state.add("a")
    state.take_chunk(0)
    state.receive(pb.EmbedStreamResponse(notice=pb.NOTICE_DRAINING), 1)
    assert state.take_half_close(1)
    assert not state.take_half_close(1)
    state.add("b")
    assert state.take_chunk(1) is None
    assert not state.wants_input
