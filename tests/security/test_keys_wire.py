"""Keys over gRPC: who may call what, as whom, and until when."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
from contextlib import asynccontextmanager
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc.aio._server import Server
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from langchain_qwire import QwireEmbeddings
from llama_index.embeddings.qwire import QwireEmbedding

import qwire
from qwire import cli
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from support.keys import KeyFile, bearer, keyed_process, peak
from support.machine_speed import hang_limit
from support.serving import fake_serving, until

pytestmark = pytest.mark.timeout(60)  # several wait for a file to be looked at, on a busy machine
SCOPES = ("embed", "rerank", "metrics")
ALL = {"none", "wrong", *SCOPES}
ANY_KEY = set(SCOPES)
# Who may call each method; a new one needs a line here and one in `api/rpc/needs.py`.
MAY = {
    "/qwire.v1.Embedding/Describe": ANY_KEY,
    "/qwire.v1.Embedding/Embed": {"embed"},
    "/qwire.v1.Embedding/EmbedStream": {"embed"},
    "/qwire.v1.Embedding/CountTokens": {"embed"},
    "/qwire.v1.Embedding/Stats": ANY_KEY,
    "/qwire.v1.Reranking/Rerank": {"rerank"},
    "/qwire.v1.Reranking/RerankStream": {"rerank"},
    "/tei.v1.Info/Info": ANY_KEY,
    "/tei.v1.Embed/Embed": {"embed"},
    "/tei.v1.Embed/EmbedStream": {"embed"},
    "/tei.v1.Embed/EmbedSparse": {"embed"},
    "/tei.v1.Embed/EmbedSparseStream": {"embed"},
    "/tei.v1.Embed/EmbedAll": {"embed"},
    "/tei.v1.Embed/EmbedAllStream": {"embed"},
    "/tei.v1.Predict/Predict": {"rerank"},
    "/tei.v1.Predict/PredictPair": {"rerank"},
    "/tei.v1.Predict/PredictStream": {"rerank"},
    "/tei.v1.Predict/PredictPairStream": {"rerank"},
    "/tei.v1.Rerank/Rerank": {"rerank"},
    "/tei.v1.Rerank/RerankStream": {"rerank"},
    "/tei.v1.Tokenize/Tokenize": {"embed", "rerank"},
    "/tei.v1.Tokenize/TokenizeStream": {"embed", "rerank"},
    "/tei.v1.Tokenize/Decode": {"embed", "rerank"},
    "/tei.v1.Tokenize/DecodeStream": {"embed", "rerank"},
    "/grpc.health.v1.Health/Check": ALL,
    "/grpc.health.v1.Health/Watch": ALL,
    "/grpc.health.v1.Health/List": ALL,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANY_KEY,
    "/qwire.v1.Embedding/Unknown": ALL,  # which are told UNIMPLEMENTED, and nothing is read
}
MIB = 2**20


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.toml")


@asynccontextmanager
async def keyed(file: KeyFile, **settings: Any):
    async with fake_serving({"api_keys_file": file.path, **settings}) as running:
        yield running


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Paths of all methods that servers of this test have."""
    found: set[str] = set()
    add = Server.add_generic_rpc_handlers

    def spy(server: Server, handlers: Any) -> None:
        found.update(path for handler in handlers for path in handler._method_handlers)
        add(server, handlers)

    monkeypatch.setattr(Server, "add_generic_rpc_handlers", spy)
    return found


def told(target: str, path: str, key: str | None) -> tuple[str, str]:
    """Status and error code of a call with one empty message; OK as soon as there is a reply."""
    with grpc.insecure_channel(target) as channel:
        call = channel.stream_stream(path)(
            iter([b""]), metadata=bearer(key), timeout=hang_limit(10)
        )
        try:
            next(call)
        except StopIteration:
            return "OK", ""
        except grpc.RpcError as error:
            return error.code().name, dict(error.trailing_metadata()).get("qwire-error-code", "")
        call.cancel()
        return "OK", ""


async def test_each_method_lets_in_whom_it_should_and_no_other(file: KeyFile, registered: set[str]):
    keys: dict[str, str | None] = {scope: file.new(scope, scope) for scope in SCOPES}
    keys |= {"none": None, "wrong": "qk0.wrong"}
    async with keyed(file) as running:
        target = f"127.0.0.1:{running.server.port}"
        # A newer health package has a method that an older one lacks.
        assert registered <= set(MAY), "a method has no line in MAY, nor perhaps in needs.py"
        assert set(MAY) - registered <= {
            "/qwire.v1.Embedding/Unknown",
            "/grpc.health.v1.Health/List",
        }

        def ask() -> dict[str, set[str]]:
            let_in: dict[str, set[str]] = {path: set() for path in MAY}
            for path in MAY:
                for who, key in keys.items():
                    status, code = told(target, path, key)
                    refusal = "UNAUTHENTICATED" if who in {"none", "wrong"} else "PERMISSION_DENIED"
                    if status == refusal:
                        assert code == refusal
                    else:
                        assert status not in {"UNAUTHENTICATED", "PERMISSION_DENIED"}
                        let_in[path].add(who)
            return let_in

        assert await asyncio.to_thread(ask) == MAY


async def test_without_keys_nobody_needs_one(file: KeyFile):
    async with fake_serving() as running:
        assert await running.embed("a", metadata=bearer("qk0.whatever")) is not None


async def test_reflection_can_be_off(file: KeyFile, registered: set[str]):
    async with keyed(file, reflection="off"):
        assert not [path for path in registered if "eflection" in path]


async def test_health_says_serving_to_who_has_no_key(file: KeyFile):
    async with keyed(file) as running:
        check = running.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        reply = await check(health_pb2.HealthCheckRequest())
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_keys_name_is_the_client_and_nothing_else_of_it_is_ever_said(
    file: KeyFile, caplog: pytest.LogCaptureFixture
):
    """In replies, records, logs; whether it is let in or not."""
    key = file.new("ingest", "embed")
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    said = []
    with caplog.at_level(logging.DEBUG):
        async with keyed(file) as running:
            await running.embed("a", metadata=bearer(key))
            for sent, method in ((wrong, running.stub.Embed), (key, running.ranking.Rerank)):
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await method(pb.EmbedRequest(texts=["a"]), metadata=bearer(sent))
                said += [error.value.details(), repr(error.value.trailing_metadata())]
            await until(lambda: len(running.observer.requests) == 3)
            first, second, third = running.observer.requests
            said.append(repr(running.observer.requests))
    assert first.client == third.client == "key:ingest"
    assert second.client == "ipv4:127.0.0.1"
    assert (second.code, second.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
    assert (third.method, third.reason) == ("Rerank", "PERMISSION_DENIED")
    said.append(caplog.text)
    for part in (*key.split("."), key.partition(".")[2][:12]):
        assert part not in "\n".join(said)


async def test_others_are_shown_to_who_has_the_scope_metrics_only(file: KeyFile):
    one, two, boss = file.new("one"), file.new("two"), file.new("boss", "metrics")
    async with keyed(file) as running:
        running.runner.gate.clear()
        busy = [
            asyncio.ensure_future(running.embed("a", metadata=bearer(key))) for key in (one, two)
        ]

        async def shown(key: str) -> set[str]:
            """Those that a key's holder is shown, once both hold something."""
            while True:
                stats = await running.stub.Stats(pb.StatsRequest(), metadata=bearer(key))
                if stats.clients_active == 2:
                    return {client.client for client in stats.clients}

        assert await shown(one) == {"key:one"}
        assert await shown(two) == {"key:two"}
        assert await shown(boss) == {"key:one", "key:two"}
        running.runner.gate.set()
        await asyncio.gather(*busy)


async def test_a_key_has_its_own_quota_which_changes_with_the_file(file: KeyFile):
    plain, small = file.new("plain"), file.new("small", tokens_per_minute=10)
    async with keyed(file) as running:
        for _ in range(2):
            await running.embed("word " * 40, metadata=bearer(plain))
        await running.embed("word " * 40, metadata=bearer(small))
        with pytest.raises(grpc.aio.AioRpcError, match="10 tokens a minute"):
            await running.embed("a", metadata=bearer(small))
        file.write(file.path.read_text().replace("tokens_per_minute = 10\n", ""))
        await until(lambda: running.observer.reloads != [])
        await running.embed("a", metadata=bearer(small))


async def test_streams_of_a_key_are_bounded_by_its_own_number(file: KeyFile):
    key, free = file.new("a", streams=1), file.new("b")
    async with keyed(file) as running:
        first = running.stub.EmbedStream(metadata=bearer(key))
        await first.write(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
        await first.read()
        second = running.stub.EmbedStream(metadata=bearer(key))
        with pytest.raises(grpc.aio.AioRpcError, match="at most 1 may be"):
            await second.read()
        other = running.stub.EmbedStream(metadata=bearer(free))
        await other.write(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
        assert list((await other.read()).ids) == [1]
        for stream in (first, other):
            stream.cancel()


async def refused(running: Any, key: str) -> None:
    """Return when a call by this key is refused."""
    status = ""
    while status != "UNAUTHENTICATED":
        call = running.stub.Embed(pb.EmbedRequest(texts=["a"]), metadata=bearer(key))
        status = (await call.code()).name
        assert status in {"OK", "UNAUTHENTICATED"}
        await asyncio.sleep(0.01)


async def test_a_key_is_good_as_soon_as_it_is_in_the_file_and_no_longer(file: KeyFile):
    """Unary calls; no restart, and the reload is told."""
    async with keyed(file) as running:
        late = file.new("late")
        await until(lambda: running.observer.reloads != [])
        await running.embed("a", metadata=bearer(late))
        file.revoke("late")
        await refused(running, late)
        assert [(r.what, r.wrong) for r in running.observer.reloads] == [("keys", "")] * 2


async def test_a_quiet_stream_ends_when_its_key_is_revoked(file: KeyFile):
    """What is open by other keys goes on."""
    gone, kept = file.new("gone"), file.new("kept")
    async with keyed(file) as running:
        streams = [running.stub.EmbedStream(metadata=bearer(key)) for key in (gone, kept)]
        for stream in streams:
            await stream.write(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
            assert list((await stream.read()).ids) == [1]
        file.revoke("gone")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await streams[0].read()
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert dict(error.value.trailing_metadata())["qwire-error-code"] == "UNAUTHENTICATED"
        await until(lambda: len(running.observer.requests) == 1)
        assert running.observer.requests[0].client == "key:gone"
        assert running.observer.requests[0].reason == "UNAUTHENTICATED"
        await streams[1].write(pb.EmbedStreamRequest(ids=[2], texts=["b"]))
        assert list((await streams[1].read()).ids) == [2]
        await streams[1].done_writing()
        assert await streams[1].read() is grpc.aio.EOF


async def test_a_stream_that_reads_nothing_learns_that_its_key_was_revoked(file: KeyFile):
    """The status waits for the reply that waits for the client's window of 64 KB."""
    key, texts = file.new("a"), ["a"] * 50
    narrow = [("grpc.http2.bdp_probe", 0)]
    async with (
        fake_serving({"api_keys_file": file.path}, dim=4096, stream_tokens=100_000) as running,
        grpc.aio.insecure_channel(f"127.0.0.1:{running.server.port}", options=narrow) as channel,
    ):
        stream = pb_grpc.EmbeddingStub(channel).EmbedStream(metadata=bearer(key))
        for i in range(20):
            await stream.write(pb.EmbedStreamRequest(ids=range(i * 50, i * 50 + 50), texts=texts))
        await asyncio.sleep(0.3)  # a reply is under way
        file.revoke("a")
        await until(lambda: bool(running.observer.requests))

        async def read_all() -> None:
            while await stream.read() is not grpc.aio.EOF:
                pass

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read_all()
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_an_open_question_for_services_ends_when_its_key_is_revoked(file: KeyFile):
    """What is open by other keys goes on."""
    gone, kept = file.new("gone", "metrics"), file.new("kept", "metrics")
    question = reflection_pb2.ServerReflectionRequest(list_services="*")
    async with keyed(file) as running:
        stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
        streams = [stub.ServerReflectionInfo(metadata=bearer(key)) for key in (gone, kept)]
        for stream in streams:
            await stream.write(question)
            assert (await stream.read()).HasField("list_services_response")
        file.revoke("gone")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await streams[0].read()
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert dict(error.value.trailing_metadata())["qwire-error-code"] == "UNAUTHENTICATED"
        await until(lambda: bool(running.observer.requests))
        assert running.observer.requests[0].client == "key:gone"
        await streams[1].write(question)
        assert (await streams[1].read()).HasField("list_services_response")
        await streams[1].done_writing()
        assert await streams[1].read() is grpc.aio.EOF


@pytest.mark.parametrize("kind", [qwire.Client, qwire.AsyncClient])
async def test_a_busy_stream_of_our_clients_ends_with_the_reason(file: KeyFile, kind: type):
    """It is not taken for a server that was lost: nothing is waited for."""
    key = file.new("a")
    async with keyed(file) as running:
        target = f"127.0.0.1:{running.server.port}"
        over = threading.Event()
        texts = takewhile(lambda _: not over.is_set(), map(str, count()))
        served = asyncio.Event()

        async def all_async() -> None:
            async with qwire.AsyncClient(target, api_key=key) as client:
                async for _ in client.embed_stream(texts):
                    served.set()

        def all_sync() -> None:
            with qwire.Client(target, api_key=key) as client:
                for _ in client.embed_stream(texts):
                    loop.call_soon_threadsafe(served.set)

        loop = asyncio.get_running_loop()
        going = all_async() if kind is qwire.AsyncClient else asyncio.to_thread(all_sync)
        ending = asyncio.ensure_future(going)
        await served.wait()
        file.revoke("a")
        timer = threading.Timer(30, over.set)
        timer.start()
        with pytest.raises(qwire.UnauthenticatedError, match="not known here"):
            await ending
        timer.cancel()


@pytest.mark.parametrize("content", ['[[key]]\nname = "a"', "[[", None])
async def test_a_file_that_is_half_written_or_gone_changes_nothing(
    file: KeyFile, content: str | None, caplog: pytest.LogCaptureFixture
):
    key = file.new("a")
    good = file.path.read_text()
    async with keyed(file) as running:
        if content is None:
            file.path.unlink()
        else:
            file.write(content)
        await until(lambda: running.observer.reloads != [])
        assert running.observer.reloads[0].what == "keys"
        assert running.observer.reloads[0].wrong
        await running.embed("a", metadata=bearer(key))
        file.write(good)
        await until(lambda: len(running.observer.reloads) == 2)
        assert not running.observer.reloads[1].wrong
        await running.embed("a", metadata=bearer(key))


@pytest.fixture
async def two_keys(file: KeyFile):
    """A server, and what may embed, what may only read metrics, and what is no key of it."""
    good, lacking = file.new("good", "embed"), file.new("lacking", "metrics")
    async with keyed(file) as running:
        yield running, good, lacking


async def by_async_client(target: str, key: str | None, how: str) -> None:
    async with qwire.AsyncClient(target, api_key=key) as client:
        if how == "describe":
            await client.describe()
        elif how == "embed":
            await client.embed(["a"])
        else:
            async for _ in client.embed_stream(["a"] * 500):
                pass


async def by_client(target: str, key: str | None, how: str) -> None:
    def call() -> None:
        with qwire.Client(target, api_key=key) as client:
            calls = {
                "describe": client.describe,
                "embed": lambda: client.embed(["a"]),
                "stream": lambda: list(client.embed_stream(["a"] * 500)),
            }
            calls[how]()

    await asyncio.to_thread(call)


@pytest.mark.parametrize("how", ["embed", "stream", "describe"])
@pytest.mark.parametrize("call", [by_client, by_async_client])
async def test_clients_raise_at_once_what_says_what_to_do(two_keys: Any, call: Any, how: str):
    """Tried once, and the key is in nothing that the error holds or is pickled to."""
    running, good, lacking = two_keys
    target = f"127.0.0.1:{running.server.port}"
    await call(target, good, how)
    for key, words in ((None, "QWIRE_API_KEY"), (f"{good}x", "not known here")):
        with pytest.raises(qwire.UnauthenticatedError, match=words) as error:
            await call(target, key, how)
        assert error.value.code == "UNAUTHENTICATED"
        for told in (repr(error.value), str(error.value), str(pickle.dumps(error.value))):
            assert good.partition(".")[2] not in told

    def refusals() -> int:
        return sum(record.code == "UNAUTHENTICATED" for record in running.observer.requests)

    await until(lambda: refusals() >= 2)
    # An async stream may have to ask again for the reason, which gRPC loses.
    assert refusals() <= (4 if how == "stream" else 2)
    if how != "describe":
        with pytest.raises(qwire.PermissionDeniedError, match="needs the scope embed"):
            await call(target, lacking, how)


async def test_the_command_and_the_adapters_bring_the_key(
    two_keys: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    running, good, _ = two_keys
    target = f"127.0.0.1:{running.server.port}"

    def call() -> None:
        assert cli.main(["info", "--target", target]) == 1
        assert "QWIRE_API_KEY" in capsys.readouterr().err
        monkeypatch.setenv("QWIRE_API_KEY", good)
        assert cli.main(["info", "--target", target]) == 0
        for adapter in (QwireEmbeddings(target=target), QwireEmbedding(target=target)):
            assert good.partition(".")[2] not in repr(adapter)
        assert len(QwireEmbeddings(target=target).embed_query("a")) == 8
        assert len(QwireEmbedding(target=target).get_query_embedding("a")) == 8
        with pytest.raises(qwire.UnauthenticatedError):
            QwireEmbeddings(target=target, api_key="qk0.wrong").embed_query("a")

    await asyncio.to_thread(call)
    assert {record.client for record in running.observer.requests if record.code == "OK"} == {
        "key:good"
    }


async def test_a_callable_key_may_rotate(file: KeyFile):
    """The next call after a refusal brings the next key."""
    keys = [file.new("old"), file.new("next")]
    async with keyed(file) as running:
        async with qwire.AsyncClient(
            f"127.0.0.1:{running.server.port}", api_key=lambda: keys[0]
        ) as client:
            await client.embed(["a"])
            file.revoke("old")
            await refused(running, keys.pop(0))
            await client.embed(["a"])
        assert running.observer.requests[-1].client == "key:next"


@pytest.fixture
def apart(file: KeyFile):
    """A server with keys in a process of its own, its ports, and a key."""
    key = file.new("a")
    with keyed_process(file) as (process, ports):
        yield process, ports, key


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_message_without_a_key_is_never_held(apart: Any):
    """Four of the largest at once; with a key the same four are held, so the figure tells."""
    process, (port, _), key = apart
    body = bytes(16 * MIB - 1024)  # no EmbedRequest: INVALID_ARGUMENT once it is read

    def send(key: str | None, status: str) -> int:
        before = peak(process)
        ends: list[str] = []

        def one() -> None:
            with grpc.insecure_channel(
                f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]
            ) as channel:
                call = channel.unary_unary("/qwire.v1.Embedding/Embed")
                try:
                    call(body, metadata=bearer(key), timeout=hang_limit(15))
                except grpc.RpcError as error:
                    ends.append(error.code().name)

        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ends == [status] * 4
        return peak(process) - before

    send(None, "UNAUTHENTICATED")  # what connections take by themselves
    assert send(None, "UNAUTHENTICATED") < 8 * MIB
    assert send(f"{key}x", "UNAUTHENTICATED") < 8 * MIB
    assert send(key, "INVALID_ARGUMENT") > 24 * MIB
