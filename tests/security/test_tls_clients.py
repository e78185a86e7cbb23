"""Everything that speaks gRPC to a server, over mutual TLS, with files as users have them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import qwire
from qwire.cli import main
from support.certificates import Authority
from support.fake_server import FakeServer
from support.forms import Direct, LangChain, LlamaIndex
from support.web_front import Front, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "indexer.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def mutual(authority: Authority) -> Iterator[Front]:
    """A server that wants certificates, of one name only."""
    settings = {
        **authority.server().settings,
        "tls_client_ca": authority.file,
        "tls_allowed_names": NAME,
    }
    with serve(settings=settings) as running:
        yield running


@pytest.fixture
def mine(authority: Authority, tmp_path: Path) -> dict[str, str]:
    """Paths of what a client needs."""
    pair = authority.issue(NAME)
    (tmp_path / "me.pem").write_bytes(pair.chain)
    (tmp_path / "me.key").write_bytes(pair.key)
    return {
        "ca_cert": str(authority.file),
        "client_cert": str(tmp_path / "me.pem"),
        "client_key": str(tmp_path / "me.key"),
    }


def target(front: Front) -> str:
    return f"grpcs://localhost:{front.server.port}"


@pytest.mark.parametrize("form", [Direct, LangChain, LlamaIndex])
def test_clients_and_adapters_embed_over_mutual_tls(mutual: Front, mine: dict[str, str], form: Any):
    mutual.observer.requests.clear()
    embedding = form(target=target(mutual), **mine)
    vectors = embedding.embed(["a", "b"])
    assert np.array(vectors).shape == (2, 32)
    assert asyncio.run(embedding.aembed(["a", "b"])) == vectors
    assert {record.client for record in mutual.observer.requests} == {f"cert:{NAME}"}


def test_a_stream_goes_over_mutual_tls(mutual: Front, mine: dict[str, str]):
    with qwire.Client(target(mutual), **mine) as client:
        found = list(client.embed_stream((str(i) for i in range(50)), ordered=True))
    assert [item.id for item in found] == list(range(50))
    assert all(item.error is None for item in found)


def test_rerankers_ask_over_tls(authority: Authority):
    from langchain_core.documents import Document  # noqa: PLC0415  seconds
    from langchain_qwire import QwireReranker  # noqa: PLC0415
    from llama_index.core.schema import NodeWithScore, TextNode  # noqa: PLC0415
    from llama_index.postprocessor.qwire import QwireRerank  # noqa: PLC0415

    pair = authority.issue()
    with FakeServer(tls=(pair.key, pair.chain)) as server:
        given = {"target": server.target, "ca_cert": str(authority.file)}
        documents = [Document(page_content=text) for text in "abc"]
        assert len(QwireReranker(**given, top_n=2).compress_documents(documents, "q")) == 2
        nodes = [NodeWithScore(node=TextNode(text=text)) for text in "abc"]
        assert len(QwireRerank(**given, top_n=2).postprocess_nodes(nodes, query_str="q")) == 2


def test_the_command_takes_certificates(
    mutual: Front, mine: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = ["--target", target(mutual)]
    for name, path in mine.items():
        flags += [f"--{name.replace('_', '-')}", path]
    assert main(["info", "--json", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["healthy"] is True
    texts = tmp_path / "texts.txt"
    texts.write_text("a\nb\n", encoding="utf-8")
    assert main(["embed", str(texts), "-o", str(tmp_path / "v.npy"), "--quiet", *flags]) == 0
    assert np.load(tmp_path / "v.npy").shape == (2, 32)


def test_the_command_fails_with_one_line(
    mutual: Front, mine: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    here = f"127.0.0.1:{mutual.server.port}"
    assert main(["info", "--target", here, "--ca-cert", mine["ca_cert"]]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"qwire info: {here} closed the connection in the TLS handshake")
    assert main(["info", "--target", here, "--ca-cert", "/nowhere.pem"]) == 2
    assert "ca_cert cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("who", ["nobody", "stranger", "expired"])
def test_a_client_without_a_certificate_that_is_believed_is_told_so(
    mutual: Front, authority: Authority, tmp_path: Path, who: str
):
    certificates = {
        "nobody": {},
        "stranger": Authority(tmp_path, "other").issue(NAME).client,
        "expired": authority.expired(NAME).client,
    }
    here = f"127.0.0.1:{mutual.server.port}"
    given: dict[str, Any] = {"ca_cert": authority.pem, **certificates[who], "max_attempts": 1}
    with (
        qwire.Client(here, **given) as client,
        pytest.raises(qwire.ConnectionFailedError, match="want a client's certificate; give"),
    ):
        client.embed(["a"])
    with (
        qwire.Client(here, **given) as client,
        pytest.raises(qwire.StreamLostError, match="want a client's certificate; give"),
    ):
        list(client.embed_stream(["a"]))


def test_a_certificate_of_another_name_is_told_which(mutual: Front, authority: Authority):
    with (
        qwire.Client(
            target(mutual), ca_cert=authority.pem, **authority.issue("other.example").client
        ) as client,
        pytest.raises(qwire.PermissionDeniedError, match=r"is of other\.example, which --tls-al"),
    ):
        client.embed(["a"])


async def test_an_async_client_is_told_the_same(mutual: Front, authority: Authority):
    here = f"127.0.0.1:{mutual.server.port}"
    async with qwire.AsyncClient(here, ca_cert=authority.pem, max_attempts=1) as client:
        with pytest.raises(qwire.ConnectionFailedError, match="want a client's certificate; give"):
            await client.embed(["a"])
        with pytest.raises(qwire.ConnectionFailedError, match="want a client's certificate; give"):
            [item async for item in client.embed_stream(["a"])]


def test_the_https_port_in_place_of_grpc_s_is_told(mutual: Front, mine: dict[str, str]):
    here = f"127.0.0.1:{mutual.server.http_port}"
    with (
        qwire.Client(here, **mine) as client,
        pytest.raises(qwire.ConnectionFailedError, match="it looks like an HTTPS port"),
    ):
        client.embed(["a"])
