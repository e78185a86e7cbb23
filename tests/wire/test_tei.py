"""`tei.v1` on a real socket, with a client that has its own copy of the contract."""

from __future__ import annotations

import asyncio
import threading

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc

from qwire.v1 import embedding_pb2 as pb
from qwire_server.api.tei import wire as tei_wire
from qwire_server.load import LoadedModel
from qwire_server.pb.tei.v1 import tei_pb2
from qwire_server.serve import Server
from qwire_server.settings import Settings
from support import local
from support.machine_speed import hang_limit
from support.models import QUERY_PROMPT, qwen_tokenizer
from support.patience import a_while
from support.runners import DIM, FakeRunner
from support.serving import FAKE_ID, Recorder, Running, fake_model, fake_serving, until
from support.tei import METHODS, Tei, contract
from support.texts import HARD

TEXTS = [text for text in HARD if text]


def vector(reply) -> np.ndarray:
    return np.array(reply.embeddings, np.float32)


async def refusal(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


class TestContract:
    def test_the_stubs_describe_what_the_tests_wrote_down(self):
        ours = FileDescriptorProto.FromString(tei_pb2.DESCRIPTOR.serialized_pb)
        theirs = contract()
        assert {m.name: m for m in ours.message_type} == {m.name: m for m in theirs.message_type}
        assert {e.name: e for e in ours.enum_type} == {e.name: e for e in theirs.enum_type}
        for service in ours.service:
            for method in service.method:
                method.ClearField("options")
        assert {s.name: s for s in ours.service} == {s.name: s for s in theirs.service}

    async def test_the_bytes_of_a_vector_are_a_packed_repeated_float(self, fake: Running):
        """Field 1, length-delimited: what every protobuf runtime writes for repeated float."""
        embed = fake.channel.unary_unary("/tei.v1.Embed/Embed")
        reply = await embed(b"\x0a\x05hello")
        row = (await fake.embed("hello"))[0]
        blob = row.astype("<f4").tobytes()
        assert reply.startswith(b"\x0a" + bytes([len(blob)]) + blob)

    @pytest.mark.parametrize("dim", [1, 31, 32, 4096])
    async def test_rows_of_any_length_arrive(self, dim: int):
        async with fake_serving(dim=dim) as fake:
            reply = await Tei(fake.channel).embed("hello")
            np.testing.assert_array_equal(vector(reply), (await fake.embed("hello"))[0])


class TestEmbed:
    async def test_a_vector_is_that_of_qwire(self, qwen: Running, tiny: LoadedModel):
        tei = Tei(qwen.channel)
        rows = [vector(await tei.embed(text, truncate=True)) for text in TEXTS]
        np.testing.assert_array_equal(rows, [(await qwen.embed(text))[0] for text in TEXTS])
        np.testing.assert_allclose(rows, local.embed(tiny, TEXTS), atol=1e-6)

    async def test_a_prompt_is_chosen_by_its_name(self, qwen: Running, tiny: LoadedModel):
        reply = await Tei(qwen.channel).embed("a question", prompt_name="query")
        expected = local.embed(tiny, ["a question"], prompt=QUERY_PROMPT)[0]
        np.testing.assert_allclose(vector(reply), expected, atol=1e-6)

    async def test_an_unknown_prompt_is_refused_with_the_names_there_are(self, qwen: Running):
        error = await refusal(Tei(qwen.channel).embed("a", prompt_name="nope"))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert 'Available prompts: ["query", "document"]' in error.details()

    async def test_dimensions_are_cut_and_normalised_unless_told_otherwise(self, qwen: Running):
        tei = Tei(qwen.channel)
        whole = vector(await tei.embed("text", normalize=False))
        assert abs(np.linalg.norm(whole) - 1) > 0.1
        short = vector(await tei.embed("text", dimensions=32))
        np.testing.assert_allclose(short, whole[:32] / np.linalg.norm(whole[:32]), atol=1e-6)
        raw = vector(await tei.embed("text", dimensions=32, normalize=False))
        np.testing.assert_allclose(raw, whole[:32], atol=1e-6)

    @pytest.mark.parametrize(("direction", "truncate"), [("RIGHT", 1), ("LEFT", 2)])
    async def test_either_end_can_be_cut(self, fake: Running, direction: str, truncate: int):
        text = " ".join(map(str, range(400)))
        reply = await Tei(fake.channel).embed(
            text, truncate=True, truncation_direction=f"TRUNCATION_DIRECTION_{direction}"
        )
        np.testing.assert_array_equal(vector(reply), (await fake.embed(text, truncate=truncate))[0])
        assert reply.metadata.compute_tokens == 128

    async def test_metadata_and_headers_say_what_it_took(self, fake: Running):
        fake.runner.gate.clear()
        tei = Tei(fake.channel)
        call = tei.call("Embed/Embed", tei.message("EmbedRequest", inputs="héllo 中国"))
        assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
        await asyncio.sleep(0.05)
        fake.runner.gate.set()
        took = (await call).metadata
        [tokens] = fake.runner.batches[0]
        assert (took.compute_chars, took.compute_tokens) == (8, tokens)
        assert took.inference_time_ns >= 50_000_000
        parts = took.tokenization_time_ns + took.queue_time_ns + took.inference_time_ns
        assert 0 < parts <= took.total_time_ns
        headers = dict(await call.initial_metadata())
        assert headers["x-compute-type"] == "cpu"
        assert headers["x-compute-characters"] == "8"
        assert headers["x-compute-tokens"] == str(tokens)
        assert int(headers["x-inference-time"]) >= 50
        assert {"x-compute-time", "x-total-time", "x-tokenization-time", "x-queue-time"} <= set(
            headers
        )


class TestErrors:
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"inputs": ""}, "`inputs` cannot be empty"),
            ({"inputs": "w " * 400}, "`inputs` must have less than 128 tokens. Given: 402"),
            ({"inputs": "x" * 5000}, "5000 bytes"),
            ({"inputs": "a", "dimensions": 0}, "2 to 8"),
            ({"inputs": "a", "dimensions": 9}, "2 to 8"),
            ({"inputs": "a", "truncation_direction": 7}, "0 (right) or 1 (left)"),
        ],
    )
    async def test_what_can_never_be_answered_is_an_invalid_argument(
        self, fake: Running, fields, said
    ):
        tei = Tei(fake.channel)
        for error in (
            await refusal(tei.embed(**fields)),
            await refusal(
                tei.stream("Embed/EmbedStream", tei.message("EmbedRequest", **fields)),
            ),
        ):
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert error.details().startswith("Input validation error: ")
            assert said in error.details()

    async def test_a_text_on_which_the_model_fails_is_a_failed_precondition(self, fake: Running):
        def fails(_: object) -> None:
            raise ValueError

        fake.runner.fails = fails
        error = await refusal(Tei(fake.channel).embed("a"))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert dict(error.trailing_metadata())["qwire-error-code"] == "MODEL_FAILED"

    async def test_where_no_more_may_wait_a_call_is_refused_and_a_stream_is_not(self):
        async with fake_serving({"queue_seconds": 3e-4, "waiting_requests": 1}) as small:
            tei, long = Tei(small.channel), "word " * 100
            small.runner.gate.clear()
            first = asyncio.ensure_future(small.embed(*[long] * 2))
            assert await asyncio.to_thread(small.runner.entered.acquire, timeout=hang_limit(5))
            second = asyncio.ensure_future(small.embed(long))
            await until(lambda: "1 wait" in repr(small.server._gate.embedder()))
            error = await refusal(tei.embed(long, truncate=True))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) > 0
            streamed = asyncio.ensure_future(tei.embed_all(long, truncate=True))
            await until(lambda: "bulk 1" in repr(small.server._gate.embedder()))
            small.runner.gate.set()
            assert len(await first) == 2
            assert len(await second) == 1
            assert len(await streamed) == 1

    @pytest.mark.parametrize(
        ("method", "code"),
        [
            ("Embed/EmbedSparse", grpc.StatusCode.FAILED_PRECONDITION),
            ("Embed/EmbedAll", grpc.StatusCode.UNIMPLEMENTED),
            ("Predict/Predict", grpc.StatusCode.FAILED_PRECONDITION),
            ("Predict/PredictPair", grpc.StatusCode.FAILED_PRECONDITION),
        ],
    )
    async def test_what_an_embedding_model_cannot_do_has_the_status_it_has_elsewhere(
        self, fake: Running, method: str, code: grpc.StatusCode
    ):
        tei = Tei(fake.channel)
        name = METHODS[method].split()[0]
        inputs = ["a", "b"] if name == "PredictPairRequest" else "a"
        request = tei.message(name, inputs=inputs)
        assert (await refusal(tei.call(method, request))).code() is code
        assert (await refusal(tei.stream(f"{method}Stream", request))).code() is code

    async def test_reranking_without_a_reranker_is_a_failed_precondition(self, fake: Running):
        tei = Tei(fake.channel)
        request = tei.message("RerankRequest", query="q", texts=["a"])
        error = await refusal(tei.call("Rerank/Rerank", request))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "--reranker" in error.details()
        request = tei.message("RerankStreamRequest", query="q", text="a")
        error = await refusal(tei.call("Rerank/RerankStream", iter([request])))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION

    async def test_while_the_model_loads_everything_is_unavailable(self):
        loading = threading.Event()

        def load(_: Settings) -> LoadedModel:
            assert loading.wait(hang_limit(50))
            return fake_model(FakeRunner())

        server = Server(Settings(model="demo", grpc_port=0, drain_seconds=1), Recorder(), load)
        starting = asyncio.ensure_future(server.start())
        await until(lambda: bool(server.port))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            tei = Tei(channel)
            for method, types in METHODS.items():
                asked, told = types.split()
                request = tei.message(asked.lstrip("~"))
                if told[0] == "~":
                    call = tei.stream(method, request)
                else:
                    call = tei.call(method, iter([request]) if asked[0] == "~" else request)
                error = await refusal(call)
                assert error.code() is grpc.StatusCode.UNAVAILABLE, method
                assert "loading" in error.details()
            loading.set()
            await starting
            assert len((await tei.embed("a")).embeddings) == DIM
            await server.stop()


class TestStream:
    async def test_answers_come_in_order_each_with_its_own_vector(
        self, qwen: Running, tiny: LoadedModel
    ):
        replies = await Tei(qwen.channel).embed_all(*TEXTS * 20, truncate=True)
        rows = np.stack([vector(reply) for reply in replies])
        np.testing.assert_allclose(rows, np.tile(local.embed(tiny, TEXTS), (20, 1)), atol=1e-5)
        assert [r.metadata.compute_chars for r in replies] == [len(t) for t in TEXTS * 20]

    async def test_each_message_has_its_own_options(self, qwen: Running, tiny: LoadedModel):
        tei = Tei(qwen.channel)
        fields = [{}, {"dimensions": 32}, {"prompt_name": "query"}, {"normalize": True}, {}]
        requests = [tei.message("EmbedRequest", inputs="text", **f) for f in fields * 10]
        replies = await tei.stream("Embed/EmbedStream", *requests)
        plain = local.embed(tiny, ["text"])[0]
        short = local.embed(tiny, ["text"], dimensions=32)[0]
        asked = local.embed(tiny, ["text"], prompt=QUERY_PROMPT)[0]
        for reply, expected in zip(replies, [plain, short, asked, plain, plain] * 10, strict=True):
            np.testing.assert_allclose(vector(reply), expected, atol=1e-5)

    async def test_a_text_at_a_time_is_answered_before_the_next_one_is_sent(self, fake: Running):
        tei = Tei(fake.channel)
        call = tei.call("Embed/EmbedStream")
        for i in range(5):
            await call.write(tei.message("EmbedRequest", inputs=f"text {i}"))
            reply = await call.read()
            np.testing.assert_array_equal(vector(reply), (await fake.embed(f"text {i}"))[0])
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF

    async def test_an_empty_stream_ends_well(self, fake: Running):
        assert await Tei(fake.channel).embed_all() == []

    async def test_what_arrives_while_the_device_is_busy_is_computed_together(self, fake: Running):
        fake.runner.gate.clear()
        asking = asyncio.ensure_future(Tei(fake.channel).embed_all(*["ab"] * 60))
        assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
        # That the rest waits for company is nowhere to be seen, so it is given time to arrive.
        await a_while(0.2)
        fake.runner.gate.set()
        assert len(await asking) == 60
        assert len(fake.runner.batches) <= 4

    @pytest.mark.parametrize("bad", ["", "w " * 400, "x" * 5000])
    async def test_the_first_bad_text_ends_the_stream_after_the_answers_before_it(
        self, fake: Running, bad: str
    ):
        tei = Tei(fake.channel)
        call = tei.call("Embed/EmbedStream")
        for text in ["a", "b", "c", bad, "d"]:
            await call.write(tei.message("EmbedRequest", inputs=text))
        await call.done_writing()
        for text in "abc":
            np.testing.assert_array_equal(vector(await call.read()), (await fake.embed(text))[0])
        with pytest.raises(grpc.aio.AioRpcError):
            await call.read()
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT

    async def test_an_error_reaches_a_client_that_goes_on_writing(self, fake: Running):
        """A status that meets a write is INTERNAL in grpc.aio, so the server waits for a pause."""
        tei = Tei(fake.channel)
        requests = [tei.message("EmbedRequest", inputs=t) for t in ["a", "", *["b"] * 500]]
        for _ in range(10):
            error = await refusal(tei.stream("Embed/EmbedStream", *requests))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT

    async def test_the_server_reads_no_further_while_too_much_is_in_flight(self):
        async with fake_serving(stream_tokens=400) as fake:
            fake.runner.gate.clear()
            tei = Tei(fake.channel)
            asking = asyncio.ensure_future(tei.embed_all(*["word " * 100] * 1000, truncate=True))
            assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
            await a_while(0.3)
            waiting = int(repr(fake.server).split("bulk ")[1].split(">")[0])
            assert waiting <= 80  # 400 tokens in flight, and one slice that is put whole
            fake.runner.gate.set()
            assert len(await asking) == 1000

    async def test_a_stream_that_is_cancelled_frees_what_it_held(self, fake: Running):
        fake.runner.gate.clear()
        tei = Tei(fake.channel)
        call = tei.call("Embed/EmbedStream")
        for _ in range(30):
            await call.write(tei.message("EmbedRequest", inputs="word " * 20))
        assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
        call.cancel()
        await until(lambda: bool(fake.observer.requests))
        assert fake.observer.requests[0].code == "CANCELLED"
        fake.runner.gate.set()
        await until(lambda: "<Admission 0.000 of" in repr(fake.server._gate.embedder()))

    async def test_a_stream_is_one_observed_request(self, fake: Running):
        await Tei(fake.channel).embed_all("a", "b", "c")
        await until(lambda: bool(fake.observer.requests))
        record = fake.observer.requests[0]
        assert (record.method, record.request_class) == ("tei.EmbedStream", "bulk")
        assert (record.code, record.texts, record.tokens) == ("OK", 3, 6)


class TestDraining:
    async def test_what_was_accepted_is_answered_then_the_stream_is_unavailable(self):
        async with fake_serving() as fake:
            fake.runner.gate.clear()
            tei = Tei(fake.channel)
            call = tei.call("Embed/EmbedStream")
            for text in ("a", "b"):
                await call.write(tei.message("EmbedRequest", inputs=text))
            assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
            stopping = asyncio.ensure_future(fake.server.stop())
            await until(lambda: not fake.server._gate.is_serving)
            fake.runner.gate.set()
            assert len((await call.read()).embeddings) == DIM
            assert len((await call.read()).embeddings) == DIM
            with pytest.raises(grpc.aio.AioRpcError):
                await call.read()
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
            assert "stopping" in await call.details()
            await asyncio.wait_for(stopping, hang_limit(3))

    async def test_an_idle_stream_ends_at_once(self):
        async with fake_serving() as fake:
            tei = Tei(fake.channel)
            calls = [tei.call(f"{m}Stream") for m in ("Embed/Embed", "Tokenize/Tokenize")]
            names = ["EmbedRequest", "EncodeRequest"]
            for call, name in zip(calls, names, strict=True):
                await call.write(tei.message(name, inputs="a"))
                await call.read()
            stopping = asyncio.ensure_future(fake.server.stop())
            for call in calls:
                with pytest.raises(grpc.aio.AioRpcError):
                    await call.read()
                assert await call.code() is grpc.StatusCode.UNAVAILABLE
            await asyncio.wait_for(stopping, hang_limit(3))


class TestTokenize:
    async def test_tokens_carry_their_bytes_of_the_text(self, qwen: Running, tiny: LoadedModel):
        tei = Tei(qwen.channel)
        for text in TEXTS:
            request = tei.message("EncodeRequest", inputs=text, add_special_tokens=True)
            tokens = (await tei.call("Tokenize/Tokenize", request)).tokens
            assert [t.id for t in tokens] == tiny.tokenizer.encode([text]).ids[0].tolist()
            *ordinary, last = tokens
            assert (last.text, last.special) == ("<|endoftext|>", True)
            assert not last.HasField("start")
            for token in ordinary:
                assert not token.special
                assert text.encode()[token.start : token.stop].decode() == token.text

    async def test_special_tokens_are_left_out_unless_asked_for(self, qwen: Running):
        tei = Tei(qwen.channel)
        request = tei.message("EncodeRequest", inputs="hello", prompt_name="query")
        tokens = (await tei.call("Tokenize/Tokenize", request)).tokens
        assert not any(token.special for token in tokens)
        assert "".join(token.text for token in tokens) == QUERY_PROMPT + "hello"

    async def test_ids_become_text_again(self, qwen: Running, tiny: LoadedModel):
        tei = Tei(qwen.channel)
        ids = tiny.tokenizer.encode(["中国 and 🙂"]).ids[0].tolist()
        for skip, expected in ((True, "中国 and 🙂"), (False, "中国 and 🙂<|endoftext|>")):
            request = tei.message("DecodeRequest", ids=ids, skip_special_tokens=skip)
            assert (await tei.call("Tokenize/Decode", request)).text == expected

    async def test_streams_answer_in_order(self, fake: Running):
        tei = Tei(fake.channel)
        texts = [f"text {i}" for i in range(200)]
        asked = [tei.message("EncodeRequest", inputs=text) for text in texts]
        told = await tei.stream("Tokenize/TokenizeStream", *asked)
        rows = [[token.id for token in reply.tokens] for reply in told]
        asked = [tei.message("DecodeRequest", ids=row) for row in rows]
        told = await tei.stream("Tokenize/DecodeStream", *asked)
        assert [reply.text for reply in told] == texts

    @pytest.mark.parametrize(
        ("method", "name", "fields"),
        [
            ("Tokenize/TokenizeStream", "EncodeRequest", {"inputs": "a"}),
            ("Tokenize/DecodeStream", "DecodeRequest", {"ids": [1]}),
        ],
    )
    async def test_the_first_bad_message_ends_a_stream(self, fake: Running, method, name, fields):
        tei = Tei(fake.channel)
        call = tei.call(method)
        for request in (fields, fields, {}, fields):
            await call.write(tei.message(name, **request))
        await call.done_writing()
        assert await call.read() is not grpc.aio.EOF
        assert await call.read() is not grpc.aio.EOF
        with pytest.raises(grpc.aio.AioRpcError):
            await call.read()
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "cannot be empty" in await call.details()

    async def test_more_ids_than_a_request_may_have_are_refused(self, fake: Running):
        tei = Tei(fake.channel)
        request = tei.message("DecodeRequest", ids=[1] * 5000)
        error = await refusal(tei.call("Tokenize/Decode", request))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "4096" in error.details()


async def test_info_names_the_model_and_its_limits(fake: Running):
    info = await Tei(fake.channel).call("Info/Info", Tei(fake.channel).message("InfoRequest"))
    described = await fake.stub.Describe(pb.DescribeRequest())
    assert (info.model_id, info.model_sha) == (FAKE_ID, "r1")
    assert (info.model_dtype, info.model_type) == ("float32", 0)
    assert info.version == described.server_version
    assert info.max_input_length == described.max_tokens
    assert info.max_batch_tokens == described.limits.tokens_per_batch
    assert info.max_client_batch_size == described.limits.texts_per_request
    assert info.tokenization_workers == 2


@pytest.mark.parametrize(
    ("service", "serves"),
    [("Info", True), ("Tokenize", True), ("Embed", True), ("Rerank", False), ("Predict", False)],
)
async def test_health_knows_what_this_model_serves(fake: Running, service: str, serves: bool):
    check = health_pb2_grpc.HealthStub(fake.channel).Check(
        health_pb2.HealthCheckRequest(service=f"tei.v1.{service}")
    )
    assert (await check).status == (1 if serves else 2)


class TestLongTexts:
    """What takes the tokeniser long is done in parts, and nobody else waits for it."""

    LONG = "Ein langer Text, 中文 too. " * 4000

    async def test_the_tokens_of_a_long_text_are_packed_in_parts(self, monkeypatch):
        parts: list[int] = []
        pack = tei_wire.encode_bytes

        def spy(tokens):
            parts.append(len(tokens))
            return pack(tokens)

        monkeypatch.setattr(tei_wire, "encode_bytes", spy)
        async with fake_serving(max_text_bytes=2**20, request_tokens=10**6) as fake:
            tei = Tei(fake.channel)
            request = tei.message("EncodeRequest", inputs=self.LONG, add_special_tokens=False)
            tokens = (await tei.call("Tokenize/Tokenize", request)).tokens
        assert [t.id for t in tokens] == qwen_tokenizer().encode(
            self.LONG, add_special_tokens=False
        ).ids
        assert sum(parts) == len(tokens)
        assert max(parts) <= 4096
        raw = self.LONG.encode()
        assert tokens[-1].stop == len(raw)
        assert all(
            raw[t.start : t.stop].decode() == t.text for t in tokens if ord(t.text[:1] or "a") < 128
        )

    async def test_more_tokens_than_a_request_may_have_are_refused(self):
        async with fake_serving(max_text_bytes=2**20, request_tokens=1000) as fake:
            tei = Tei(fake.channel)
            error = await refusal(
                tei.call("Tokenize/Tokenize", tei.message("EncodeRequest", inputs=self.LONG))
            )
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "at most 1000 are taken" in error.details()
