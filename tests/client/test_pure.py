"""The policies and the arrays, without a server."""

from __future__ import annotations

import inspect
import itertools
import pickle
import re

import numpy as np
import pytest

import qwire
from qwire import errors
from qwire.budget import RetryBudget
from qwire.failures import Failure, name_index
from qwire.info import Description, Dimensions, Limits, Prompts
from qwire.results import Embeddings
from qwire.retry import delay_before_retry
from qwire.split import request_limits, split
from qwire.stream import Flow
from qwire.stream_codec import EmbedCodec
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


def test_refused_calls_are_sent_again_a_few_times_a_second_at_most():
    """However many calls of a client are refused, and however often."""
    budget = RetryBudget()
    sent = sorted(wait for _ in range(200) if (wait := budget.take(0, 0.0, latest=10)) is not None)
    assert sent[:20] == [0.0] * 20
    for at, later in itertools.pairwise(sent[19:]):
        assert later - at >= 1 / 5.01
    assert len(sent) <= 20 + 10 * 5


def test_answered_calls_earn_retries_for_those_that_are_refused():
    budget = RetryBudget()
    while budget.take(0, 0.0, latest=0.1) is not None:
        pass
    assert budget.take(0, 0.0, latest=0.1) is None
    for _ in range(2):
        budget.answered()
    assert budget.take(0, 0.0, latest=0.1) == 0.0


def test_a_retry_that_would_come_too_late_costs_nothing():
    budget = RetryBudget()
    for _ in range(100):
        assert budget.take(0, 5.0, latest=5.0) is None
    assert budget.take(0, 0.0, latest=1.0) == 0.0


def test_a_hint_longer_than_the_budget_needs_is_kept():
    assert RetryBudget().take(0, 3.0, latest=60) == 3.0


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION",
    "UNAUTHENTICATED", "PERMISSION_DENIED", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL",
    "UNKNOWN", "RESOURCE_EXHAUSTED", "ABORTED", "DATA_LOSS"])  # fmt: skip
def test_other_failures_are_never_tried_again(status):
    assert delay(failure=Failure(status)) is None


def test_a_call_that_a_server_dropped_before_it_looked_at_it_is_tried_again():
    """Servers of gRPC do so when more calls come than they can take in, and call it CANCELLED."""
    assert delay(failure=Failure("CANCELLED", details="CANCELLED")) is not None
    assert delay(failure=Failure("CANCELLED", code="INTERNAL")) is None


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
           "rerank", "describe", "healthy", "close", "__repr__"]  # fmt: skip


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
    return Flow(EmbedCodec(options), parse_target("localhost"), **settings)


def test_a_stream_with_a_timeout_waits_while_the_server_refuses_it_for_want_of_room():
    state = flow(timeout=10.0)
    state.add("a")
    refused = Failure("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retry_after=8.0)
    for now in range(0, 100, 9):
        assert state.take_chunk(now + 8.9).texts == ["a"]
        state.end(refused, now + 8.95, reached=True)
        assert not state.is_over
    state.take_chunk(200.0)
    state.end(Failure("UNAVAILABLE"), 211.0, reached=True)
    assert state.is_over, "what is lost for longer than that is given up"


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


def test_silence_for_too_long_is_a_lost_stream_that_says_so():
    state = flow(reconnect_seconds=20)
    state.add("a")
    state.take_chunk(0)
    assert not state.is_silent(29)
    assert state.is_silent(30)
    state.fall_silent(30)
    assert not state.is_over
    assert state.take_chunk(31).texts == ["a"]
    assert state.is_silent(61)
    state.fall_silent(61)
    assert state.is_over
    error = state.failure()
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


BROKEN = Failure("UNAVAILABLE", details="Socket closed")
REFUSED = Failure("UNAVAILABLE", details="failed to connect to all addresses")
CLOSED = Failure(  # by a proxy whose server is gone; recorded
    "UNAVAILABLE",
    details="failed to connect to all addresses; last error: UNAVAILABLE: ipv4:1.2.3.4:5: Socket "
    "closed",
)
ALIVE = pb.EmbedStreamResponse(notice=pb.NOTICE_ALIVE)


def answer(*numbers, fingerprint=""):
    count = len(numbers)
    return pb.EmbedStreamResponse(
        ids=numbers,
        vectors=pb.Vectors(
            rows=count, dim=1, encoding=pb.ENCODING_FLOAT32, data=b"\0\0\x80?" * count
        ),
        usage=pb.TextUsage(tokens=[1] * count, cut=[0] * count, unknown=[0] * count),
        fingerprint=fingerprint,
    )


def started(*texts, **settings):
    """A flow whose texts are all in flight."""
    state = flow(chunk_size=len(texts), **settings)
    for text in texts:
        state.add(text)
    state.end_input()
    assert list(state.take_chunk(0).texts) == list(texts)
    return state


def handed_out(state):
    items = []
    while (item := state.next_item()) is not None:
        items.append(item)
    return items


def die(state, now):
    state.end(BROKEN, now, reached=True)


def test_what_was_not_answered_is_sent_again_after_a_pause_and_only_that():
    state = started("a", "b", "c", draw=lambda: 1.0)
    state.receive(answer(1), 1)
    die(state, 10)
    assert state.in_flight == 0
    assert state.patience(10) == pytest.approx(0.1)
    assert state.take_chunk(10.05) is None
    message = state.take_chunk(10.2)
    assert (list(message.ids), list(message.texts)) == ([0, 2], ["a", "c"])
    assert message.HasField("options")
    state.receive(answer(2, 0), 11)
    assert [item.id for item in handed_out(state)] == [0, 1, 2]
    assert state.take_half_close(11)
    state.end(None, 11, reached=True)
    assert state.is_over
    assert state.failure() is None


def test_what_was_lost_goes_before_what_was_never_sent():
    state = flow(chunk_size=2)
    for text in "abcde":
        state.add(text)
    state.take_chunk(0)
    state.take_chunk(0)
    die(state, 1)
    assert list(state.take_chunk(9).texts) == ["a", "b"]


def test_an_answer_twice_or_to_what_was_not_sent_in_this_call_is_a_lie():
    state = started("a", "b")
    state.receive(answer(0), 1)
    with pytest.raises(qwire.ServerError, match="not in flight"):
        state.receive(answer(0), 1)
    die(state, 2)
    with pytest.raises(qwire.ServerError, match="not in flight"):
        state.receive(answer(1), 3)


def test_the_budget_counts_from_the_loss_and_each_answer_starts_it_anew():
    state = started("a", "b", reconnect_seconds=100, draw=lambda: 0.0)
    for now in (1000, 1050, 1099):
        state.end(REFUSED, now, reached=True)
        assert not state.is_over
        state.take_chunk(now)
    state.receive(answer(0), 1099)
    state.end(REFUSED, 1150, reached=True)
    assert not state.is_over
    state.take_chunk(1150)
    state.end(REFUSED, 1251, reached=True)
    assert state.is_over
    error = state.failure()
    assert type(error) is qwire.StreamLostError
    assert error.unanswered == 2  # nothing was handed out


def test_a_goodbye_is_no_progress():
    state = started("a", reconnect_seconds=100, draw=lambda: 0.0)
    for now in (0, 50, 99, 101):
        assert not state.is_over
        state.take_chunk(now)
        state.receive(pb.EmbedStreamResponse(notice=pb.NOTICE_DRAINING), now)
        state.end(None, now, reached=True)
    assert state.is_over
    assert "going away" in str(state.failure())


def test_a_proxy_that_closes_connections_for_a_server_that_is_gone_accuses_no_text():
    state = started("a", reconnect_seconds=100, draw=lambda: 0.0)
    for now in range(90):
        state.end(CLOSED, now, reached=True)
        state.take_chunk(now)
    assert handed_out(state) == []
    assert not state.is_over


def test_who_was_never_reached_gets_a_few_quick_tries():
    state = started("a", draw=lambda: 0.0)
    for attempt in range(4):
        assert not state.is_over
        state.take_chunk(attempt)
        state.end(REFUSED, attempt, reached=False)
    assert state.is_over


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (None, True),
        (BROKEN, True),
        (Failure("INTERNAL", details="Internal error from Core"), True),
        (Failure("CANCELLED"), True),
        (Failure("UNAVAILABLE", code="UNAVAILABLE"), True),
        (Failure("RESOURCE_EXHAUSTED", code="OVERLOADED"), True),
        (Failure("INTERNAL", code="MODEL_FAILED"), False),
        (Failure("INTERNAL", code="INTERNAL"), False),
        (Failure("UNAUTHENTICATED"), False),
        (Failure("INVALID_ARGUMENT"), False),
        (Failure("RESOURCE_EXHAUSTED"), False),
        (Failure("UNIMPLEMENTED"), False),
    ],
)
def test_only_what_a_new_call_may_heal_is_tried_again(failure, again):
    state = started("a")
    state.end(failure, 0, reached=True)
    assert state.is_over is not again


def test_a_hint_is_the_least_pause_of_a_stream_too():
    state = started("a", draw=lambda: 0.0)
    state.end(Failure("UNAVAILABLE", code="UNAVAILABLE", retry_after=3), 10, reached=True)
    assert state.patience(10) == 3


def test_vectors_of_another_model_are_refused_after_a_reconnect():
    state = started("a", "b")
    state.receive(answer(0, fingerprint="one"), 0)
    die(state, 1)
    state.take_chunk(9)
    with pytest.raises(qwire.FingerprintMismatchError):
        state.receive(answer(1, fingerprint="two"), 9)


def test_a_text_in_flight_at_three_deaths_goes_alone_and_then_is_an_error():
    state = started("a", "b", "c", reconnect_seconds=1000)
    for death in range(3):
        die(state, 100 * death)
        if death < 2:
            assert len(state.take_chunk(100 * death + 50).ids) == 3
    state.add("late")
    assert list(state.take_chunk(250).ids) == [0]
    assert state.take_chunk(250) is None  # nothing beside it
    assert state.take_half_close(250)
    state.receive(answer(0), 251)
    state.end(None, 251, reached=True)
    assert list(state.take_chunk(251).ids) == [1]
    die(state, 252)
    items = handed_out(state)
    assert [item.id for item in items] == [0, 1]
    assert type(items[1].error) is qwire.ModelFailedError
    assert "text 1 was in flight at 4 deaths" in str(items[1].error)
    assert list(state.take_chunk(300).ids) == [2]
    state.receive(answer(2), 301)
    state.end(None, 301, reached=True)
    assert list(state.take_chunk(301).ids) == [3]
    state.receive(answer(3), 302)
    assert [item.error for item in handed_out(state)] == [None, None]


@pytest.mark.parametrize(
    "failure",
    [
        REFUSED,
        Failure("UNAVAILABLE", code="UNAVAILABLE"),
        Failure("UNAVAILABLE", details="503"),
    ],
)
def test_no_text_is_to_blame_for_a_server_that_is_not_there(failure):
    state = started("a", "b", draw=lambda: 0.0)
    for now in range(10):
        state.end(failure, now, reached=True)
        assert len(state.take_chunk(now).ids) == 2


def test_no_text_is_to_blame_for_a_server_that_said_goodbye_or_was_never_heard():
    state = started("a", "b", draw=lambda: 0.0)
    for now in range(5):
        state.receive(pb.EmbedStreamResponse(notice=pb.NOTICE_DRAINING), now)
        die(state, now)
        assert len(state.take_chunk(now).ids) == 2
        state.fall_silent(now)
        assert len(state.take_chunk(now).ids) == 2
    state.receive(ALIVE, 5)
    for _ in range(3):
        state.fall_silent(6)
        state.take_chunk(6)
        state.receive(ALIVE, 6)
    assert state.in_flight == 1  # alive and then silent, three times: that is suspicious


def test_the_window_holds_while_nobody_answers():
    state = flow(window=5)
    for text in "abcde":
        state.add(text)
    for now in range(0, 100, 10):
        state.take_chunk(now)
        assert not state.wants_input
        state.end(REFUSED, now, reached=True)
    assert not state.wants_input
