"""Nothing of a text, a key or a vector gets out but in the answer to whoever sent it.

A real server process logs at debug level while every method and route is called, well and badly,
with words that are then looked for in all that came out of it.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

import qwire
from qwire.v1 import embedding_pb2, rerank_pb2
from qwire_server.pb.tei.v1 import tei_pb2
from support import web_client
from support.canary_server import FAIL_TOKENS, NAN_TOKENS, TEXT, VALUE
from support.machine_speed import hang_limit

KEY = "CANARYKEY"
# The last is a value of a vector that was normalised: one of eight equal ones.
SECRETS = ("CANARY", str(VALUE), str(8**-0.5)[:8])
TEXTS = {
    "good": TEXT,
    "not finite": " ".join([TEXT, *["w"] * NAN_TOKENS]),
    "model": " ".join([TEXT, *["w"] * FAIL_TOKENS]),
    "tokenizer": f"{TEXT} encoder",
    "too large": TEXT * 1000,
    "empty": "",
}
# What a client chooses, and what may not reach a terminal or a metric as it is.
NOISE = "NOISE\x1b[31m\r\nINFO forged"
HEADERS = {"authorization": f"Bearer {KEY}", "user-agent": f"agent {KEY}"}
ROUTES = ["/v1/embeddings", "/embed", "/rerank", "/v1/rerank", "/v2/rerank"]
METHODS = [
    method
    for file in (embedding_pb2, rerank_pb2, tei_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
_ECHOED = {"model", "prompt_name", "expected_fingerprint"}  # names, told to whoever sent them


@dataclass
class Watched:
    """A server, its log, and what callers were told of failures."""

    process: subprocess.Popen[str]
    grpc: str
    http: str
    log: Path
    json: Path
    told: list[str] = field(default_factory=list)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    log, for_machines = tmp_path / "log", tmp_path / "json"
    command = [sys.executable, "-m", "support.canary_server", str(for_machines)]
    env = {"PYTHONPATH": ":".join(path for path in sys.path if path), "PATH": "/usr/bin:/bin"}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=env
        )
        assert process.stdout
        try:
            ports = process.stdout.readline().split()
            assert len(ports) == 2, log.read_text()
            yield Watched(
                process, f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", log, for_machines
            )
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.mark.timeout(120)
def test_no_secret_gets_out(watched: Watched):
    with grpc.insecure_channel(watched.grpc) as channel:
        for method in METHODS:
            call_badly(watched, channel, method)
    with web_client.client(base_url=watched.http, headers=HEADERS) as client:
        for route in ROUTES:
            post_badly(watched, client, route)
        get_badly(watched, client)
        metrics = client.get("/metrics").text
    call_with_our_client(watched)
    watched.process.send_signal(signal.SIGTERM)
    assert watched.process.wait(hang_limit(20)) == 0
    said = watched.log.read_text()
    for word in ("MODEL_FAILED", "NOT_FINITE", "INTERNAL", "which led to", "INVALID_REQUEST"):
        assert word in said, f"the test provoked no {word}"
    assert "DecodeError" not in said, "bytes that are no message fill the log"
    assert len(watched.told) > 100
    facts = watched.json.read_text()
    everything = {"log": said, "json": facts, "metrics": metrics}
    for name, where in (*everything.items(), *enumerate(watched.told)):
        for secret in SECRETS:
            assert secret not in where, f"{name}: {excerpt(where, secret)}"
    assert "NOISE" not in metrics
    check_lines(said, facts)


def excerpt(where: str, secret: str) -> str:
    at = where.index(secret)
    return where[max(at - 200, 0) : at + 100]


def check_lines(said: str, facts: str) -> None:
    """Each line begins as the log begins lines, or is a part of a stack; none is forged."""
    assert "\x1b" not in said + facts
    for line in said.splitlines():
        assert re.match(r"\d\d:\d\d:\d\d |  |which led to$|[A-Z]\w+Error$", line), line
    for line in facts.splitlines():
        assert json.loads(line)["level"]


# -- gRPC


def call_badly(watched: Watched, channel: grpc.Channel, method: MethodDescriptor) -> None:
    kind = message_factory.GetMessageClass(method.input_type)
    for text in TEXTS.values():
        send(watched, channel, method, filled(kind(), text).SerializeToString())
    noisy = filled(kind(), NOISE)
    send(watched, channel, method, noisy.SerializeToString())
    send(watched, channel, method, b"\xff" + TEXT.encode())  # no message
    send(watched, channel, method, b"\x0a\x0c\xff\xfe" + TEXT.encode())  # no UTF-8


def filled(message: Any, text: str) -> Any:
    """The message with this text wherever it takes one."""
    for one in message.DESCRIPTOR.fields:
        repeated = one.is_repeated
        if one.type == FieldDescriptor.TYPE_STRING and one.name not in _ECHOED:
            value: Any = [text] if repeated else text
        elif one.name == "ids":
            value = [1]
        else:
            continue
        if repeated:
            getattr(message, one.name).extend(value)
        else:
            setattr(message, one.name, value)
    return message


def send(watched: Watched, channel: grpc.Channel, method: MethodDescriptor, body: bytes) -> None:
    asks = "stream" if method.client_streaming else "unary"
    tells = "stream" if method.server_streaming else "unary"
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = [("authorization", KEY), ("x-request-id", "NOISE"), ("x-note-bin", KEY.encode())]
    call = getattr(channel, f"{asks}_{tells}")(path)
    request = iter([body]) if method.client_streaming else body
    try:
        reply = call(request, metadata=metadata, timeout=hang_limit(15))
        for part in reply if method.server_streaming else ():
            note_errors(watched, method, part)
    except grpc.RpcError as error:
        watched.told += [str(error), repr(error.trailing_metadata())]


def note_errors(watched: Watched, method: MethodDescriptor, part: bytes) -> None:
    message = message_factory.GetMessageClass(method.output_type).FromString(part)
    watched.told += [str(error) for error in getattr(message, "errors", ())]


# -- HTTP


def post_badly(watched: Watched, client: httpx.Client, route: str) -> None:
    bodies: list[Any] = [
        body
        for text in TEXTS.values()
        for body in (
            {"input": text, "inputs": text, "query": text, "documents": [text]},
            {"input": [text, 1], "inputs": {text: text}, "query": "q", "documents": [{text: 1}]},
            {"input": {"x": text}, "inputs": None, "query": [text], "documents": text},
        )
    ]
    good = {"input": "a", "inputs": "a", "query": "a", "documents": ["a"]}
    wrong = ("dimensions", "encoding_format", "truncate", "input_type", "top_n", "normalize")
    bodies += [{**good, name: TEXT} for name in wrong]
    bodies += [{**good, TEXT: TEXT}, {**good, "truncation_direction": TEXT}, [TEXT], TEXT]
    raw = [json.dumps(body).encode() for body in bodies]
    raw += [b'{"input": "' + TEXT.encode(), TEXT.encode(), b'{"input": "\xff%b"}' % TEXT.encode()]
    for content in raw:
        note(watched, client.post(route, content=content, headers={"content-type": "text/json"}))
        kind = {"content-type": "application/json", "x-request-id": "NOISE"}
        note(watched, client.post(route, content=content, headers=kind))
    odd = {"content-type": f"text/{TEXT}"}
    note(watched, client.post(route, content=TEXT, headers=odd))
    late = {"content-type": "application/json", "x-qwire-timeout": TEXT}
    note(watched, client.post(route, content=raw[0], headers=late))
    note(watched, client.post(route, content=raw[0], headers={**late, "x-qwire-class": TEXT}))


def get_badly(watched: Watched, client: httpx.Client) -> None:
    for path in (f"/{TEXT}", f"/v1/models/{TEXT}", f"/?key={KEY}", f"/v1/embeddings?x={TEXT}"):
        note(watched, client.get(path))
        note(watched, client.post(path, json={TEXT: TEXT}))
    note(watched, client.get("/", headers={"host": f"{TEXT}.example"}))
    host, port = watched.http.removeprefix("http://").split(":")
    import socket  # noqa: PLC0415

    for garbage in (
        b"%b\r\n\r\n",
        b"GET /%b HTTP/9\r\n\r\n",
        b"GET / HTTP/1.1\r\n%b\x1b[31m\r\n\r\n",
    ):
        with socket.create_connection((host, int(port))) as one:
            one.settimeout(10)
            one.sendall(garbage % TEXT.encode())
            watched.told.append(one.recv(1 << 16).decode())


def note(watched: Watched, reply: httpx.Response) -> None:
    if reply.status_code >= 400:
        watched.told.append(reply.text + repr(reply.headers))


# -- our own client


def call_with_our_client(watched: Watched) -> None:
    with qwire.Client(watched.grpc, api_key=KEY, timeout=hang_limit(15), max_attempts=1) as client:
        for text in (*TEXTS.values(), TEXT + "\ud800", 7):
            calls = [
                lambda t=text: client.embed([t]),
                lambda t=text: client.embed_query(t, instruction=TEXT * 1000),
                lambda t=text: client.count_tokens([t]),
                lambda t=text: client.rerank(TEXT, [t]),
                lambda t=text: [
                    watched.told.append(repr(i.error)) for i in client.embed_stream([t])
                ],
            ]
            for call in calls:
                with suppress(Exception):
                    note_exception(watched, call)
        watched.told.append(repr(client))


def note_exception(watched: Watched, call: Any) -> None:
    try:
        call()
    except Exception as error:
        watched.told.append("".join(traceback.format_exception_only(error)) + repr(vars(error)))
        watched.told.append(repr(error.__cause__) + str(error.__cause__))
        raise
