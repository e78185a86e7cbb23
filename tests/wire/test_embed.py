"""`Embed`, `Describe` and `CountTokens` on a real socket."""

from __future__ import annotations

import asyncio
import threading

import grpc
import numpy as np
import pytest

from qwire._version import __version__
from qwire.v1 import embedding_pb2 as pb
from qwire_server.load import LoadedModel
from qwire_server.model.errors import DeviceLost
from support import local
from support.machine_speed import hang_limit
from support.models import QUERY_PROMPT
from support.runners import DIM
from support.serving import FAKE_ID, MAX_TOKENS, Running, fake_serving, rows_of, serving, until
from support.texts import HARD


def code_of(error: grpc.aio.AioRpcError) -> str | None:
    return dict(error.trailing_metadata()).get("qwire-error-code")


def detail_of(error: grpc.aio.AioRpcError) -> pb.ErrorDetail:
    status = pb.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.details[0].type_url == "type.googleapis.com/qwire.v1.ErrorDetail"
    return pb.ErrorDetail.FromString(status.details[0].value)


async def refusal(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_describe_tells_everything_that_a_client_needs(qwen: Running, tiny: LoadedModel):
    told = await qwen.stub.Describe(pb.DescribeRequest())
    assert told.model == "tiny-qwen3"
    assert told.fingerprint == tiny.served.fingerprint
    assert told.server_version == __version__
    assert (told.dimensions.native, told.dimensions.smallest) == (64, 32)
    assert (told.max_tokens, told.pooling, told.dtype, told.device) == (
        512,
        "last",
        "float32",
        "cpu",
    )
    assert told.prompts.query == QUERY_PROMPT
    assert told.prompts.template == "Instruct: {instruction}\nQuery:"
    assert list(told.languages) == ["mul"]
    assert told.limits.texts_per_request == 2048
    assert told.limits.bytes_per_message == 16 * 2**20


async def test_vectors_through_the_wire_equal_the_packed_forward(qwen: Running, tiny: LoadedModel):
    np.testing.assert_allclose(await qwen.embed(*HARD), local.embed(tiny, HARD), atol=1e-6)


async def test_a_deterministic_server_gives_the_same_bits_in_any_company(tiny: LoadedModel):
    async with serving(lambda _: tiny, deterministic=True, queue_seconds=600) as server:
        alone = np.concatenate([await server.embed(text) for text in HARD])
        crowd = await asyncio.gather(*(server.embed(text, *HARD) for text in HARD))
    assert np.array_equal(np.stack([rows[0] for rows in crowd]), alone)
    assert all(np.array_equal(rows[1:], alone) for rows in crowd)


async def test_a_short_question_does_not_wait_for_the_tokenizers_threads():
    async with fake_serving({"tokenizer_threads": 1}) as server:
        gate = threading.Event()
        busy = asyncio.create_task(server.server._gate.embedder().pool.run(0, gate.wait))
        try:
            assert len(await server.embed("who is there?")) == 1
        finally:
            gate.set()
            await busy


async def test_many_callers_at_once_each_get_their_own_vectors(qwen: Running, tiny: LoadedModel):
    expected = local.embed(tiny, HARD)
    got = await asyncio.gather(*(qwen.embed(text) for text in HARD * 5))
    np.testing.assert_allclose(np.concatenate(got), np.tile(expected, (5, 1)), atol=1e-5)


async def test_each_input_type_gets_its_prompt(qwen: Running, tiny: LoadedModel):
    plain = local.embed(tiny, ["text"])
    asked = local.embed(tiny, ["text"], prompt=QUERY_PROMPT)
    for input_type, expected in [("QUERY", asked), ("DOCUMENT", plain), ("NONE", plain)]:
        got = await qwen.embed("text", input_type=f"INPUT_TYPE_{input_type}")
        np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(await qwen.embed("text"), plain, atol=1e-6)


@pytest.mark.parametrize("input_type", ["QUERY", "DOCUMENT", "NONE"])
async def test_an_instruction_replaces_the_task_for_whichever_type(
    qwen: Running, tiny: LoadedModel, input_type: str
):
    task = "Find {braces} and\nnewlines"
    got = await qwen.embed("text", instruction=task, input_type=f"INPUT_TYPE_{input_type}")
    expected = local.embed(tiny, ["text"], prompt=f"Instruct: {task}\nQuery:")
    np.testing.assert_allclose(got, expected, atol=1e-6)


async def test_an_empty_instruction_is_no_prompt(qwen: Running, tiny: LoadedModel):
    got = await qwen.embed("text", instruction="", input_type="INPUT_TYPE_QUERY")
    np.testing.assert_allclose(got, local.embed(tiny, ["text"]), atol=1e-6)


async def test_dimensions_and_normalize(qwen: Running, tiny: LoadedModel):
    cut = await qwen.embed("text", dimensions=40)
    np.testing.assert_allclose(cut, local.embed(tiny, ["text"], dimensions=40), atol=1e-6)
    raw = await qwen.embed("text", normalize=False)
    assert abs(np.linalg.norm(raw) - 1) > 0.01
    np.testing.assert_allclose(raw / np.linalg.norm(raw), await qwen.embed("text"), atol=1e-6)


async def test_every_encoding_decodes_to_the_same_vector(qwen: Running):
    exact = await qwen.embed("text", "another")

    async def reply(encoding: str) -> pb.Vectors:
        options = pb.EmbedOptions(encoding=f"ENCODING_{encoding}")
        request = pb.EmbedRequest(texts=["text", "another"], options=options)
        vectors = (await qwen.stub.Embed(request)).vectors
        assert (vectors.rows, vectors.dim) == (2, 64)
        return vectors

    half = np.frombuffer((await reply("FLOAT16")).data, "<f2").reshape(2, 64)
    np.testing.assert_allclose(half, exact, atol=1e-3)
    int8 = await reply("INT8")
    steps = np.frombuffer(int8.data, np.int8).reshape(2, 64)
    np.testing.assert_allclose(steps * np.frombuffer(int8.scales, "<f4")[:, None], exact, atol=4e-3)
    bits = np.unpackbits(np.frombuffer((await reply("BINARY")).data, np.uint8)).reshape(2, 64)
    np.testing.assert_array_equal(bits, exact > 0)


async def test_no_texts_are_no_rows_of_the_asked_dimension(qwen: Running):
    assert (await qwen.embed()).shape == (0, 64)
    assert (await qwen.embed(dimensions=33)).shape == (0, 33)


async def test_usage_tells_tokens_and_cuts(fake: Running):
    reply = await fake.stub.Embed(pb.EmbedRequest(texts=["a", "word " * 500]))
    assert list(reply.usage.tokens) == [2, MAX_TOKENS]
    assert reply.usage.cut[0] == 0
    counted = await fake.stub.CountTokens(pb.CountTokensRequest(texts=["a", "word " * 500]))
    assert list(counted.tokens) == [2, MAX_TOKENS + reply.usage.cut[1]]


async def test_count_tokens_counts_the_prompt(fake: Running):
    options = pb.EmbedOptions(input_type="INPUT_TYPE_QUERY")
    plain = await fake.stub.CountTokens(pb.CountTokensRequest(texts=["a"]))
    asked = await fake.stub.CountTokens(pb.CountTokensRequest(texts=["a"], options=options))
    assert asked.tokens[0] > plain.tokens[0] + 10
    assert fake.runner.batches == []


@pytest.mark.parametrize("name", [FAKE_ID, FAKE_ID.lower(), "fake-embedding-0.1B", ""])
async def test_the_model_is_known_by_its_names_in_any_case(fake: Running, name: str):
    assert (await fake.embed("a", model=name)).shape == (1, DIM)


async def test_another_model_is_not_found_and_both_are_named(fake: Running):
    error = await refusal(fake.embed("a", model="Qwen/Qwen3-Embedding-8B"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert code_of(error) == "MODEL_NOT_FOUND"
    assert "Qwen/Qwen3-Embedding-8B" in error.details()
    assert FAKE_ID in error.details()


async def test_another_fingerprint_is_refused_and_both_are_named(fake: Running):
    assert (await fake.embed("a", expected_fingerprint="f1")).shape == (1, DIM)
    error = await refusal(fake.embed("a", expected_fingerprint="f0"))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert code_of(error) == "FINGERPRINT_MISMATCH"
    assert "'f0'" in error.details()
    assert "f1" in error.details()


@pytest.mark.parametrize(
    ("texts", "options", "code", "index", "said"),
    [
        (["a"], {"dimensions": 1}, "INVALID_DIMENSIONS", None, "2 to 8"),
        (["a"], {"dimensions": 9}, "INVALID_DIMENSIONS", None, "2 to 8"),
        (["a"] * 101, {}, "INVALID_REQUEST", None, "at most 100"),
        (["a", "x" * 5000], {}, "TEXT_TOO_LARGE", 1, "5000 bytes, at most 4096"),
        (["a", "b", "w " * 400], {"truncate": 3}, "TEXT_TOO_LONG", 2, "takes 128"),
        (["a"], {"encoding": 9}, "INVALID_REQUEST", None, "encoding 9"),
        (["a"], {"input_type": 7}, "INVALID_REQUEST", None, "input_type 7"),
        (
            ["w " * 400],
            {"instruction": "i " * 300},
            "INVALID_REQUEST",
            None,
            "the instruction takes",
        ),
    ],
)
async def test_bad_input_is_an_invalid_argument_that_says_what_to_do(
    fake: Running, texts, options, code, index, said
):
    error = await refusal(fake.embed(*texts, **options))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert code_of(error) == code
    assert said in error.details()
    detail = detail_of(error)
    assert pb.ErrorCode.Name(detail.code) == code
    assert (detail.index if detail.HasField("index") else None) == index


async def test_the_failing_index_counts_over_the_whole_request(fake: Running):
    """Texts are tokenised in slices of 64; the index is the caller's."""
    texts = ["a"] * 80 + ["w " * 400] + ["a"] * 10
    assert detail_of(await refusal(fake.embed(*texts, truncate=3))).index == 80


async def test_a_request_of_too_many_tokens_is_refused_for_good():
    async with fake_serving(request_tokens=200) as small:
        error = await refusal(small.embed(*["word " * 100] * 4))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert code_of(error) == "REQUEST_TOO_LARGE"
        assert "at most 200" in error.details()


async def test_an_estimate_alone_refuses_no_request_for_good():
    """Three texts of 21 tokens are taken for 128 each at first, which is more than is allowed."""
    async with fake_serving(request_tokens=300) as small:
        assert (await small.embed(*["<|endoftext|>" * 20] * 3)).shape == (3, DIM)


async def test_where_no_more_may_wait_a_request_is_refused_at_once_with_a_hint():
    async with fake_serving({"queue_seconds": 3e-4, "waiting_requests": 1}) as small:
        small.runner.gate.clear()
        first = asyncio.ensure_future(small.embed(*["word " * 100] * 2))
        assert await asyncio.to_thread(small.runner.entered.acquire, timeout=hang_limit(5))
        second = asyncio.ensure_future(small.embed("word " * 100))
        await until(lambda: "1 wait" in repr(small.server._gate.embedder()))
        error = await refusal(small.embed("word " * 100))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert code_of(error) == "OVERLOADED"
        hint = int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"])
        assert hint == detail_of(error).retry_after_ms > 0
        small.runner.gate.set()
        assert (await first).shape == (2, DIM)
        assert (await second).shape == (1, DIM)
        assert (await small.embed("word " * 100)).shape == (1, DIM)


async def test_a_request_waits_for_room_as_long_as_its_deadline_allows():
    async with fake_serving({"queue_seconds": 3e-4}) as small:
        small.runner.gate.clear()
        first = asyncio.ensure_future(small.embed(*["word " * 100] * 2))
        assert await asyncio.to_thread(small.runner.entered.acquire, timeout=hang_limit(5))
        request = pb.EmbedRequest(texts=["word " * 100])
        patient = asyncio.ensure_future(small.embed("word " * 100))
        error = await refusal(small.stub.Embed(request, timeout=0.3))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        stats = await small.stub.Stats(pb.StatsRequest())
        assert stats.requests_waiting == 1, "who has gone waits no more"
        assert stats.bytes_waiting > 500
        small.runner.gate.set()
        assert (await first).shape == (2, DIM)
        assert (await patient).shape == (1, DIM)


async def test_a_caller_that_would_rather_stream_is_refused_by_what_is_expected():
    """With the metadata `qwire-max-wait-ms`, a request's own cost counts, on an idle device too."""
    async with fake_serving() as fake:
        fake.server._gate.embedder()._cost.per_token = 1e6  # microseconds
        request = pb.EmbedRequest(texts=["word " * 100])
        error = await refusal(fake.stub.Embed(request, metadata=[("qwire-max-wait-ms", "5000")]))
        assert (error.code(), code_of(error)) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "DEADLINE_EXCEEDED",
        )
        assert fake.runner.batches == []
        assert len((await fake.stub.Embed(request)).usage.tokens) == 1
        for junk in ("soon", "-1", "1" * 40):
            reply = await fake.stub.Embed(request, metadata=[("qwire-max-wait-ms", junk)])
            assert reply.vectors.rows == 1


async def test_a_deadline_that_passes_in_the_queue_is_answered_and_not_computed(fake: Running):
    fake.runner.gate.clear()
    busy = asyncio.ensure_future(fake.embed("first"))
    assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
    request = pb.EmbedRequest(texts=["late late late late"])
    error = await refusal(fake.stub.Embed(request, timeout=0.1))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    fake.runner.gate.set()
    await busy
    await fake.embed("after")
    assert len(fake.runner.batches) == 2


async def test_a_cancelled_call_is_not_computed_and_frees_its_place():
    async with fake_serving({"queue_seconds": 2.4e-4}) as small:
        small.runner.gate.clear()
        busy = asyncio.ensure_future(small.embed("first"))
        assert await asyncio.to_thread(small.runner.entered.acquire, timeout=hang_limit(5))
        call = small.stub.Embed(pb.EmbedRequest(texts=["word " * 110]))
        await until(lambda: "interactive 1" in repr(small.server))
        call.cancel()
        await until(lambda: bool(small.observer.requests))
        assert small.observer.requests[0].code == "CANCELLED"
        after = asyncio.ensure_future(small.embed("word " * 110))
        await asyncio.sleep(0)
        small.runner.gate.set()
        assert (await after).shape == (1, DIM)
        await busy
        assert len(small.runner.batches) == 2


async def test_the_request_id_is_echoed_and_made_up_if_unsafe_or_absent(fake: Running):
    async def echoed(*metadata: tuple[str, str]) -> str:
        call = fake.stub.Embed(pb.EmbedRequest(texts=["a"]), metadata=metadata)
        await call
        return dict(await call.trailing_metadata())["x-request-id"]

    assert await echoed(("x-request-id", "abc-1")) == "abc-1"
    assert len(await echoed()) == 32
    assert len(await echoed(("x-request-id", "x" * 200))) == 32


async def test_an_unforeseen_error_is_internal_with_the_request_id_and_echoes_nothing(
    fake: Running, caplog: pytest.LogCaptureFixture
):
    def leak(*_: object) -> None:
        raise KeyError("secret text of the caller")

    fake.server._gate.embedder().tokenizer.encode = leak
    error = await refusal(fake.embed("secret", metadata=[("x-request-id", "abc-2")]))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert code_of(error) == "INTERNAL"
    assert "abc-2" in error.details()
    assert "secret" not in error.details()
    assert error.details().isascii()
    assert "request abc-2 failed" in caplog.text


async def test_a_failure_while_answers_are_handed_over_is_told_to_its_caller_only(fake: Running):
    dispatcher = fake.server._gate.embedder()._dispatcher
    take_outcomes = dispatcher.hand_over

    def broken_first(outcomes) -> None:
        first = dispatcher._sinks[outcomes[0].key]
        dispatcher._sinks[outcomes[0].key] = first._replace(take=lambda _: 1 / 0)
        take_outcomes(outcomes)

    fake.runner.gate.clear()
    busy = asyncio.ensure_future(fake.embed("busy"))
    assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
    first = asyncio.ensure_future(fake.embed("a"))
    await until(lambda: "interactive 1" in repr(fake.server))
    second = asyncio.ensure_future(fake.embed("b"))
    await until(lambda: "interactive 2" in repr(fake.server))
    dispatcher.hand_over = broken_first
    fake.runner.gate.set()
    errors = await asyncio.gather(busy, first, second, return_exceptions=True)
    assert [getattr(e, "code", lambda: None)() for e in errors] == [
        grpc.StatusCode.INTERNAL,  # alone in its batch
        grpc.StatusCode.INTERNAL,
        None,
    ]


async def test_a_vector_that_is_not_finite_is_internal_for_that_text_only(fake: Running):
    run = fake.runner.run

    def spoil(token_ids):
        rows = run(token_ids)
        for i, ids in enumerate(token_ids):
            if len(ids) == 4:
                rows[i, 0] = np.nan
        return rows

    fake.runner.run = spoil
    error = await refusal(fake.embed("a", "1 2"))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert code_of(error) == "NOT_FINITE"
    assert detail_of(error).index == 1
    assert np.isfinite(await fake.embed("a")).all()


async def test_details_are_short_ascii_whatever_the_client_sent(fake: Running):
    error = await refusal(fake.embed("a", model="模型\n" * 5000))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details().isascii()
    assert len(error.details()) <= 1024


async def test_a_lost_device_is_unavailable_to_all_and_ends_the_server_with_failure(
    caplog: pytest.LogCaptureFixture,
):
    async with fake_serving() as fake:
        status = asyncio.ensure_future(fake.server.run(asyncio.Event()))

        def lost(_: object) -> None:
            raise DeviceLost("CUDA error: device-side assert triggered")

        fake.runner.fails = lost
        error = await refusal(fake.embed("a"))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert code_of(error) == "UNAVAILABLE"
        assert await asyncio.wait_for(status, hang_limit(10)) == 1
    assert "device-side assert" in caplog.text


async def test_one_record_is_observed_for_each_request(fake: Running):
    await fake.embed("a", "b c", metadata=[("x-request-id", "r-1")])
    await refusal(fake.embed("a", dimensions=1))
    await until(lambda: len(fake.observer.requests) == 2)
    first, second = fake.observer.requests
    assert (first.method, first.request_id, first.code) == ("Embed", "r-1", "OK")
    assert (first.texts, first.request_class, first.client) == (2, "interactive", "ipv4:127.0.0.1")
    assert first.tokens > 2
    assert first.seconds > 0
    assert second.code == "INVALID_ARGUMENT"


async def test_a_large_reply_comes_whole(fake: Running):
    """Two thousand texts in many batches, put together in their order."""
    async with fake_serving(max_texts=5000, request_tokens=10**6, batch_tokens=10**4) as wide:
        texts = [f"text {i}" for i in range(2000)]
        reply = await wide.stub.Embed(pb.EmbedRequest(texts=texts))
        rows = rows_of(reply.vectors)
        assert rows.shape == (2000, DIM)
        for i in (0, 63, 64, 1999):
            np.testing.assert_allclose((await wide.embed(texts[i]))[0], rows[i], atol=1e-6)
