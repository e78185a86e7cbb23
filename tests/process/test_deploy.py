"""`qwire deploy` as far as it needs no Ray; `tests/cluster` has the rest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwire_server.cluster.context import Context, Ended
from qwire_server.cluster.methods import RPCS, add_services_to_server
from qwire_server.cluster.scaling import ByQueuedSeconds, wanted
from qwire_server.errors import StartError
from qwire_server.settings import Settings, load_as
from qwire_server.settings.deploy import DeploySettings


def chosen(*flags: str) -> DeploySettings:
    return load_as(DeploySettings, flags, "deploy")


class TestSettings:
    def test_those_of_a_server_are_taken(self):
        settings = chosen("--model", "demo", "--queue-seconds", "3", "--replicas", "4")
        assert (settings.queue_seconds, settings.replicas) == (3, 4)

    def test_a_replica_gets_them(self):
        of_a_replica = chosen("--model", "demo", "--queue-seconds", "3").of_a_replica()
        assert of_a_replica == Settings(model="demo", queue_seconds=3)

    def test_a_folder_is_where_it_was_wherever_the_replica_runs(self, tmp_path, monkeypatch):
        (tmp_path / "model").mkdir()
        monkeypatch.chdir(tmp_path)
        assert chosen("--model", "model").of_a_replica().model == str(tmp_path / "model")

    @pytest.mark.parametrize(
        ("flags", "why"),
        [
            (["--host", "0.0.0.0"], "leave --host out: Ray Serve listens on all addresses"),
            (["--http-port", "8080"], "leave --http-port out: there is no HTTP in front of"),
            (["--http-token-ids"], "leave --http-token-ids out: "),
            (["--device", "cuda:1"], "leave the number out of --device: Ray gives each replica"),
            (["--replicas", "3", "--max-replicas", "2"], "--max-replicas is less than --replicas"),
            (["--replicas", "0"], "--replicas: Input should be greater than 0"),
            (["--replica", "2"], "unrecognized arguments: --replica 2; `qwire deploy --help`"),
        ],
    )
    def test_those_that_mean_nothing_in_a_cluster_are_refused(self, flags, why):
        with pytest.raises(StartError) as caught:
            chosen(*flags)
        assert str(caught.value).startswith(why)

    def test_a_port_that_is_off_is_no_port(self):
        assert chosen("--http-port", "off").http_port == "off"

    def test_a_server_of_its_own_has_no_replicas(self):
        with pytest.raises(StartError, match="--replicas"):
            load_as(Settings, ["--replicas", "2"], "serve")


def test_without_ray_one_line_names_the_extra():
    code = "import sys; sys.modules['ray'] = None; from qwire.cli import main; main(['deploy'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == 'qwire deploy needs the package ray: pip install "qwire[ray]"\n'


class TestScaling:
    def test_work_is_counted_and_not_requests(self):
        """Ten seconds wait at two replicas, and two may wait at each."""
        metrics = {"qwire_queued_seconds": {"a": 9.0, "b": 1.0}}
        context = SimpleNamespace(aggregated_metrics=metrics, total_num_requests=1000)
        assert ByQueuedSeconds(2.0)(context) == (5.0, {})

    def test_one_is_left_where_nothing_waits(self):
        assert ByQueuedSeconds(2.0)(SimpleNamespace(aggregated_metrics=None)) == (1.0, {})

    @given(st.lists(st.floats(0, 100), max_size=10), st.floats(0.01, 10))
    def test_with_so_many_no_more_waits_at_each_than_may(self, queued, target):
        assert sum(queued) / wanted(queued, target) <= target * 1.001


class TestMethods:
    def test_a_server_finds_each_by_its_path(self):
        """Under the key that Ray reads, and what Ray puts in its place."""
        added = []
        add_services_to_server(None, SimpleNamespace(add_generic_rpc_handlers=added.extend))
        (handlers,) = added
        for rpc in RPCS:
            details = SimpleNamespace(method=f"/{rpc.service}/{rpc.method}")
            assert handlers.service(details).request_streaming == rpc.requests_stream
            assert f"/{rpc.service}/{rpc.name}" in handlers._method_handlers
        assert handlers.service(SimpleNamespace(method="/qwire.v1.Embedding/Another")) is None


class Given:
    """What Ray gives of a context."""

    def __init__(self):
        self.told = {}

    def set_code(self, code):
        self.told["code"] = code

    def set_details(self, details):
        self.told["details"] = details

    def details(self):
        return self.told["details"]

    def set_trailing_metadata(self, trailers):
        self.told["trailers"] = trailers

    def trailing_metadata(self):
        return self.told["trailers"]


class TestContext:
    async def test_all_that_is_written_before_the_end_arrives(self):
        context = Context(Given())

        async def method():
            for number in range(100):
                await context.write(number)
                if number % 3 == 0:
                    await asyncio.sleep(0)

        seen = []
        async for number in context.replies(asyncio.ensure_future(method())):
            seen.append(number)
            if number % 7 == 0:
                await asyncio.sleep(0.001)
        assert seen == list(range(100))

    async def test_writing_waits_for_who_reads(self):
        """So a client that does not read holds its stream up, and not memory."""
        context, written = Context(Given()), []

        async def method():
            for number in range(100):
                await context.write(number)
                written.append(number)

        task = asyncio.ensure_future(method())
        replies = context.replies(task)
        await anext(replies)
        await asyncio.sleep(0.01)
        assert len(written) <= 2
        await replies.aclose()
        task.cancel()

    async def test_requests_end_as_they_do_in_grpc(self):
        async def messages():
            yield 1

        context = Context(Given(), messages())
        assert await context.read() == 1
        assert await context.read() is grpc.aio.EOF
        assert await context.read() is grpc.aio.EOF

    async def test_trailers_can_be_told_in_words(self):
        given = Given()
        context = Context(given)
        trailers = (("qwire-error-code", "OVERLOADED"), ("grpc-retry-pushback-ms", "1200"))
        with pytest.raises(Ended):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", trailers)
        assert context.failed
        with pytest.raises(Ended):
            context.end_in_words()
        told = "full [qwire-error-code=OVERLOADED grpc-retry-pushback-ms=1200]"
        assert given.told["details"] == told
