"""Addresses to listen on: IPv4, IPv6, all of them; and why one cannot be had."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import grpc
import pytest

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from qwire_server.api.bind import address_of, bind_error, find_error
from qwire_server.api.http.guard import identity
from qwire_server.errors import StartError
from qwire_server.ports import places
from qwire_server.processes.ports import kept_ports
from qwire_server.serve import Server
from qwire_server.settings import Settings
from support import web_client
from support.runners import FakeRunner
from support.serving import Recorder, fake_model, fake_serving

needs_ipv6 = pytest.mark.skipif(
    not socket.has_ipv6 or find_error("::1", 0) is not None, reason="no IPv6 here"
)


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_the_ipv6_loopback_works_on_both_ports_and_needs_no_protection(host: str):
    async with fake_serving({"http_port": 0, "host": host}) as running:
        http, grpc_port = running.server.http_port, running.server.port
        async with web_client.async_client() as client:
            url = f"http://[::1]:{http}/v1/embeddings"
            assert (await client.post(url, json={"input": "a"})).status_code == 200
            reply = await client.get(f"http://[::1]:{http}/health", headers={"host": "evil"})
            assert reply.status_code == 403
        await _embeds(f"[::1]:{grpc_port}")


@needs_ipv6
async def test_all_addresses_are_those_of_ipv4_too():
    settings = {"http_port": 0, "host": "::", "insecure_listen": True}
    async with fake_serving(settings) as running:
        for host in ("127.0.0.1", "[::1]"):
            async with web_client.async_client() as client:
                url = f"http://{host}:{running.server.http_port}/v1/embeddings"
                assert (await client.post(url, json={"input": "a"})).status_code == 200
            await _embeds(f"{host}:{running.server.port}")
        four, six = (
            {r.client for r in running.observer.requests if r.method != "Embed"},
            {r.client for r in running.observer.requests if r.method == "Embed"},
        )
        assert four == six == {"ipv4:127.0.0.1", "ipv6:[::1]"}, "one client is one on both ports"


async def _embeds(target: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        reply = await pb_grpc.EmbeddingStub(channel).Embed(pb.EmbedRequest(texts=["a"]))
        assert reply.vectors.rows == 1


def test_all_addresses_need_protection():
    server = Server(Settings(host="::", http_port="off"), Recorder())
    with pytest.raises(StartError, match=r"--host :: lets other machines in"):
        asyncio.run(server.start())


def test_addresses_are_written_with_brackets_where_a_port_follows():
    assert address_of("::1", 5) == "[::1]:5"
    assert address_of("localhost", 5) == "localhost:5"
    assert places(Settings(host="[::1]"), 1, 2) == "grpc [::1]:1 and http [::1]:2"
    assert Settings(host="[::]").host == "::"


def test_a_client_on_a_socket_of_both_kinds_is_known_by_its_ipv4_address():
    assert identity({"client": ("::ffff:10.0.0.7", 1)}) == "ipv4:10.0.0.7"
    assert identity({"client": ("fe80::1", 1)}) == "ipv6:[fe80::1]"


REASONS = [
    (OSError(errno.EADDRINUSE, "x"), "the port is taken by another program"),
    (OSError(errno.EADDRNOTAVAIL, "x"), "this machine has no such address"),
    (OSError(errno.EACCES, "x"), "this user may not open that port"),
    (OSError(errno.EAFNOSUPPORT, "x"), "no addresses of that kind"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "the name is not known"),
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files"),
    (None, "no reason is known"),
]


@pytest.mark.parametrize(("error", "said"), REASONS, ids=lambda value: str(value)[:30])
def test_a_reason_is_told_as_what_it_is(error: OSError | None, said: str):
    told = str(bind_error("::1", 50051, error, "--grpc-port"))
    assert told.startswith("cannot listen on [::1]:50051: ")
    assert said in told
    assert "--" in told


@pytest.mark.parametrize(
    ("port", "host", "said"),
    [
        ("grpc_port", "127.0.0.1", "the port is taken by another program"),
        ("http_port", "127.0.0.1", "the port is taken by another program"),
        ("grpc_port", "192.0.2.1", "this machine has no such address"),
        ("grpc_port", "no-such-name.invalid", "the name is not known"),
    ],
)
async def test_a_server_says_why_it_cannot_listen(port: str, host: str, said: str):
    """One of a process, and one of several, which keeps its ports before they start."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        chosen = {"host": host, "insecure_listen": True, "grpc_port": 0, "http_port": 0}
        settings = Settings(**{**chosen, port: other.getsockname()[1]})
        server = Server(settings, Recorder(), lambda _: fake_model(FakeRunner()))
        with pytest.raises(StartError, match=said) as refusal:
            await server.start()
        if host == "127.0.0.1":
            assert f"--{port.replace('_', '-')}" in str(refusal.value)
        with pytest.raises(StartError, match=said), kept_ports(settings):
            pass
