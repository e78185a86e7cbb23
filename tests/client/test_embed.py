"""embed, embed_query, embed_documents, count_tokens, describe, healthy."""

from __future__ import annotations

import json

import grpc
import numpy as np
import pytest

from qwire import (
    FingerprintMismatchError,
    InvalidDimensionsError,
    InvalidRequestError,
    InvalidTextError,
    ServerError,
    TextTooLargeError,
    TextTooLongError,
)
from qwire.v1 import embedding_pb2 as pb
from support.fake_server import FINGERPRINT, MODEL, Refusal, unit_vector, unit_vectors
from support.machine_speed import hang_limit

MANY = [f"text {number}" for number in range(1000)]


def test_a_list_becomes_an_array_in_its_order(server, client):
    found = client.embed(["a", "b", "", "汉字"])
    np.testing.assert_allclose(found.vectors, unit_vectors(["a", "b", "", "汉字"], 16))
    assert (found.model, found.fingerprint) == (MODEL, FINGERPRINT)


def test_counts_come_with_the_vectors(client):
    found = client.embed(["abc", "xxz"])
    assert found.tokens.tolist() == [3, 3]
    assert found.truncated.tolist() == [0, 2]
    assert found.unknown.tolist() == [0, 1]
    assert found.tokens.dtype == np.int64


def test_a_query_is_one_vector_and_one_rpc(server, client):
    vector = client.embed_query("where?")
    np.testing.assert_allclose(vector, unit_vector("where?", 16))
    assert [seen.method for seen in server.seen] == ["Embed"]
    assert server.seen[0].request.options.input_type == pb.INPUT_TYPE_QUERY


def test_documents_are_a_plain_array(server, client):
    vectors = client.embed_documents(["a", "b"])
    assert type(vectors) is np.ndarray
    assert (vectors.shape, vectors.dtype) == ((2, 16), np.float32)
    assert server.seen[0].request.options.input_type == pb.INPUT_TYPE_DOCUMENT


def test_many_texts_are_cut_and_put_together_in_order(server, client):
    found = client.embed(MANY)
    np.testing.assert_allclose(found.vectors, unit_vectors(MANY, 16))
    assert server.count("Embed") == 16
    assert server.count("Describe") == 1


def test_no_more_requests_than_allowed_are_in_flight(server, connect):
    connect(server.target, max_concurrency=3).embed(MANY)
    assert 1 <= server.most_in_flight <= 3


def test_parts_that_finish_out_of_order_keep_theirs(server, client):
    gate = server.hold("text 0")
    done = []

    def progress(count, total):
        done.append((count, total))
        if count == 936:  # all but the first part
            gate.open()

    found = client.embed(MANY, progress=progress)
    np.testing.assert_allclose(found.vectors, unit_vectors(MANY, 16))
    assert done[-1] == (1000, 1000)


def test_a_split_call_is_bulk_and_a_small_one_interactive(server, client):
    client.embed(MANY[:64])
    client.embed(MANY[:65])
    classes = [seen.request.options.request_class for seen in server.seen if seen.method == "Embed"]
    assert classes == [pb.REQUEST_CLASS_INTERACTIVE] + 2 * [pb.REQUEST_CLASS_BULK]


def test_a_class_can_be_chosen(server, client):
    client.embed(["a"], request_class="bulk")
    assert server.seen[0].request.options.request_class == pb.REQUEST_CLASS_BULK


def test_describe_is_asked_once_and_only_for_a_split(server, client):
    client.embed(["a"])
    assert server.count("Describe") == 0
    client.embed(MANY)
    client.embed(MANY)
    assert server.count("Describe") == 1


def test_the_servers_limit_on_texts_is_kept(server, client):
    server.limits.texts_per_request = 10
    client.embed(MANY[:100], batch_size=90)
    assert max(len(s.request.texts) for s in server.seen if s.method == "Embed") == 10


def test_the_servers_limit_on_bytes_is_kept(server, client):
    server.limits.bytes_per_message = 1000
    client.embed(["y" * 400] * 100)
    sizes = [
        sum(len(text) for text in seen.request.texts)
        for seen in server.seen
        if seen.method == "Embed"
    ]
    assert max(sizes) == 800


def test_batch_size_may_exceed_the_default_where_the_server_allows(server, client):
    client.embed(MANY, batch_size=200)
    assert server.count("Embed") == 5


def test_an_empty_list_has_the_servers_width(client):
    found = client.embed([])
    assert found.vectors.shape == (0, 16)
    assert found.vectors.dtype == np.float32
    assert client.embed([], encoding="binary", dimensions=9).raw.shape == (0, 2)


def test_an_empty_list_asks_describe_if_the_reply_has_no_width(server, client):
    server.rewrite = lambda reply: reply.vectors.Clear()
    assert client.embed([]).vectors.shape == (0, 16)
    assert server.count("Describe") == 1


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    ("encoding", "dtype", "tolerance"),
    [("float32", np.float32, 0), ("float16", np.float16, 1e-3), ("int8", np.int8, 5e-3)],
)
def test_encodings_are_decoded(client, encoding, dtype, tolerance, parts):
    texts = MANY[: 30 * parts]
    found = client.embed(texts, encoding=encoding, batch_size=30)
    assert (found.raw.dtype, found.raw.shape) == (dtype, (len(texts), 16))
    assert (found.vectors.dtype, found.vectors.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_allclose(found.vectors, unit_vectors(texts, 16), atol=tolerance)
    assert (found.scales is not None) == (encoding == "int8")


def test_binary_is_decoded_to_signs_of_length_one(client):
    found = client.embed(["a", "b"], encoding="binary", dimensions=13)
    assert (found.raw.dtype, found.raw.shape) == (np.uint8, (2, 2))
    expected = np.where(unit_vectors(["a", "b"], 13) > 0, 1, -1) / np.sqrt(13)
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-6)


def test_vectors_can_be_written_to(client):
    """A view of a message would be read-only, and torch would warn about it."""
    assert client.embed(["a"]).vectors.flags.writeable
    assert client.embed_query("a").flags.writeable


def test_options_travel(server, connect):
    client = connect(server.target, model="fake/model")
    client.embed(
        ["a"],
        input_type="None",
        instruction="Find it",
        dimensions=np.int64(4),
        normalize=False,
        truncate="START",
        expected_fingerprint=FINGERPRINT,
    )
    options = server.seen[0].request.options
    assert options.model == "fake/model"
    assert options.input_type == pb.INPUT_TYPE_NONE
    assert options.instruction == "Find it"
    assert options.dimensions == 4
    assert options.HasField("normalize")
    assert not options.normalize
    assert options.truncate == pb.TRUNCATE_START
    assert options.expected_fingerprint == FINGERPRINT


def test_absent_options_stay_absent(server, client):
    client.embed(["a"])
    options = server.seen[0].request.options
    absent = ("model", "expected_fingerprint", "instruction", "dimensions")
    assert not any(options.HasField(name) for name in absent)


@pytest.mark.parametrize("texts", ["one string", b"bytes", 7, iter(["a"])])
def test_what_is_no_list_is_refused_with_a_sentence(server, client, texts):
    with pytest.raises(InvalidTextError, match="must be a list of strings"):
        client.embed(texts)
    assert not server.seen


@pytest.mark.parametrize("bad", [None, 3, b"bytes", ["nested"]])
def test_what_is_no_string_is_named_by_its_index(server, client, bad):
    with pytest.raises(InvalidTextError, match="text 2 is not a string") as caught:
        client.embed(["a", "b", bad])
    assert caught.value.index == 2
    assert not server.seen


def test_a_lone_surrogate_is_named_by_its_index(client):
    with pytest.raises(InvalidTextError, match="text 1 holds a lone surrogate") as caught:
        client.embed(["a", "b\ud800"])
    assert caught.value.index == 1
    assert isinstance(caught.value, ValueError)


def test_a_text_that_no_message_holds_is_named_by_its_index(client):
    with pytest.raises(TextTooLargeError) as caught:
        client.embed(["a", "b" * (16 << 20)])
    assert caught.value.index == 1


def test_an_array_of_strings_will_do(client):
    assert client.embed(np.array(["a", "b"])).shape == (2, 16)


@pytest.mark.parametrize("query", [None, ["a"], 3])
def test_a_query_is_a_string(client, query):
    with pytest.raises(InvalidTextError, match="a query is one string"):
        client.embed_query(query)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"input_type": "passage"}, InvalidRequestError),
        ({"truncate": "middle"}, InvalidRequestError),
        ({"encoding": "float64"}, InvalidRequestError),
        ({"request_class": "urgent"}, InvalidRequestError),
        ({"dimensions": 0}, InvalidDimensionsError),
        ({"dimensions": 1.5}, InvalidDimensionsError),
        ({"dimensions": True}, InvalidDimensionsError),
        ({"instruction": 3}, InvalidRequestError),
        ({"instruction": "\ud800"}, InvalidRequestError),
        ({"batch_size": 0}, InvalidRequestError),
        ({"timeout": 0}, InvalidRequestError),
        ({"timeout": -1}, InvalidRequestError),
        ({"timeout": float("inf")}, InvalidRequestError),
    ],
)
def test_wrong_words_are_refused_before_anything_is_sent(server, client, wrong, error):
    with pytest.raises(error) as caught:
        client.embed(["a"], **wrong)
    assert isinstance(caught.value, ValueError)
    assert not server.seen


def test_an_index_is_that_of_the_callers_list(server, client):
    server.refused_texts["text 700"] = Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "TEXT_TOO_LONG", "text 60 has 9 tokens, the limit is 8"
    )
    with pytest.raises(TextTooLongError, match="text 700 has 9 tokens") as caught:
        client.embed(MANY)
    assert caught.value.index == 700


def test_one_part_that_fails_cancels_the_others(server, client):
    gate = server.hold("text 0")
    server.refused_texts["text 100"] = Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "TEXT_TOO_LONG", "too long"
    )
    with pytest.raises(TextTooLongError):
        client.embed(MANY[:128])
    assert gate.cancelled.wait(hang_limit(5))


def test_what_a_progress_callback_raises_comes_out_and_cancels(server, client):
    gate = server.hold("text 0")

    def progress(done, total):
        gate.arrived.wait(hang_limit(5))
        raise KeyError(done)

    with pytest.raises(KeyError):
        client.embed(MANY[:128], progress=progress)
    assert gate.cancelled.wait(hang_limit(5))


def test_parts_of_two_models_are_not_mixed(server, client):
    replies = []

    def lie(reply):
        replies.append(reply)
        reply.fingerprint = f"fake-{min(len(replies), 2)}"

    server.rewrite = lie
    with pytest.raises(FingerprintMismatchError, match="fake-1"):
        client.embed(MANY)


def test_a_reply_of_another_fingerprint_than_expected_is_refused(server, client):
    server.fingerprint = "fake-9"
    with pytest.raises(FingerprintMismatchError) as caught:
        client.embed(["a"], expected_fingerprint=FINGERPRINT)
    assert caught.value.target == server.target


def _fewer_rows(reply):
    reply.vectors.rows -= 1


def _fewer_bytes(reply):
    reply.vectors.data = reply.vectors.data[:-4]


def _no_dim(reply):
    reply.vectors.dim = 0
    reply.vectors.data = b""


def _other_encoding(reply):
    reply.vectors.encoding = pb.ENCODING_FLOAT16


def _no_usage(reply):
    del reply.usage.tokens[:]


@pytest.mark.parametrize("lie", [_fewer_rows, _fewer_bytes, _no_dim, _other_encoding, _no_usage])
def test_a_reply_that_contradicts_the_request_is_an_error(server, client, lie):
    server.rewrite = lie
    with pytest.raises(ServerError, match="contradicts") as caught:
        client.embed(["a", "b"])
    assert caught.value.target == server.target
    assert caught.value.request_id == server.seen[0].metadata["x-request-id"]


def test_missing_scales_are_an_error(server, client):
    server.rewrite = lambda reply: reply.vectors.ClearField("scales")
    with pytest.raises(ServerError, match="scales"):
        client.embed(["a"], encoding="int8")


def test_parts_of_two_widths_are_an_error(server, client):
    widths = iter([16, 8])

    def lie(reply):
        width = next(widths)
        reply.vectors.dim = width
        reply.vectors.data = b"\0" * (4 * width * reply.vectors.rows)

    server.rewrite = lie
    with pytest.raises(ServerError, match="dim"):
        client.embed(["a", "b"], batch_size=1)


def test_a_reply_over_four_mebibytes_arrives(server, client):
    server.dim = 20_000
    found = client.embed(MANY[:64])
    assert found.raw.nbytes > 4 << 20
    np.testing.assert_allclose(found.vectors, unit_vectors(MANY[:64], 20_000))


def test_tokens_are_counted_over_many_requests(server, client):
    counts = client.count_tokens(["az" * (number % 7) for number in range(200)])
    assert counts.tokens.tolist() == [2 * (number % 7) for number in range(200)]
    assert counts.unknown.tolist() == [number % 7 for number in range(200)]
    assert server.count("CountTokens") == 4


def test_describe_has_every_field_of_the_contract(client):
    described = client.describe()

    def names(message):
        return {
            field.name: names(kind)
            if (kind := field.message_type) and not kind.GetOptions().map_entry
            else None
            for field in message.fields
        }

    def attributes(value):
        if hasattr(value, "__dataclass_fields__"):
            return {name: attributes(getattr(value, name)) for name in value.__dataclass_fields__}
        return None

    assert attributes(described) == names(pb.DescribeResponse.DESCRIPTOR)


def test_describe_is_cached_unless_refreshed(server, client):
    assert client.describe() is client.describe()
    server.fingerprint = "fake-2"
    assert client.describe(refresh=True).fingerprint == "fake-2"
    assert client.describe().fingerprint == "fake-2"
    assert client.describe().languages == ("en", "zh")
    json.dumps(client.describe().languages)


def test_healthy_is_what_the_server_says(server, client):
    assert client.healthy() is True
    server.serving = False
    assert client.healthy() is False


def test_headers_travel(server, connect):
    client = connect(
        server.target, api_key="secret", metadata={"X-Tenant": "t1"}, user_agent="langchain/1"
    )
    client.embed(["a"])
    metadata = server.seen[0].metadata
    assert metadata["authorization"] == "Bearer secret"
    assert metadata["x-tenant"] == "t1"
    assert metadata["user-agent"].startswith("langchain/1 qwire-python/")
    assert len(metadata["x-request-id"]) == 32


def test_a_callable_key_is_asked_at_each_call(server, connect):
    keys = iter(["one", "two"])
    client = connect(server.target, api_key=lambda: next(keys))
    client.embed(["a"])
    client.embed(["a"])
    assert [s.metadata["authorization"] for s in server.seen] == ["Bearer one", "Bearer two"]


def test_every_call_has_a_deadline(server, connect):
    client = connect(server.target, timeout=7, max_concurrency=2)
    client.embed(["a"])
    client.embed(["a"], timeout=3)
    client.embed(["a", "b", "c"], batch_size=1)  # and describe, to cut the list
    seconds = [seen.seconds for seen in server.seen]
    assert 4.5 < seconds[0] < 5.5, "three quarters: the rest is left for a stream"
    assert 2 < seconds[1] < 3.5
    assert 6 < seconds[2] < 7.5
    assert all(4.5 < left < 5.5 for left in seconds[3:])
