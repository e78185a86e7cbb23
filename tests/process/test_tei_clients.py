"""Clients of text-embeddings-inference that nobody here wrote, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from qwire import Client

TEXTS = ["The capital of China is Beijing.", "中国的首都是北京。", "🙂 emoji"] * 20

# https://pypi.org/project/tei-client: its stubs were made from that server's own contract.
TEI_CLIENT = """
import asyncio, json, sys
import grpc
from tei_client import GrpcClient

target, texts = json.load(sys.stdin)

def code(call, *args):
    try:
        call(*args)
    except grpc.RpcError as error:
        return error.code().name

async def in_a_loop():
    client = GrpcClient(target)
    rows = await client.async_embed(texts)
    tokens = await client.async_tokenize(texts[:3])
    await client.async_channel.close()
    return [list(row) for row in rows], [token.get_ids() for token in tokens]

client = GrpcClient(target)
info = client.info()
rows, ids = asyncio.run(in_a_loop())
print(json.dumps({
    "info": [info.server_model_type.value, info.max_input_length],
    "prompts": client.prompt_names(),
    "sync": [list(row) for row in client.embed(texts)],
    "async": rows,
    "query": list(client.embed(texts[0], prompt_name="query")[0]),
    "decoded": client.decode(ids),
    "empty": code(client.embed, ""),
    "long": code(client.embed, "w " * 5000),
    "cut": len(client.embed("w " * 5000, truncate=True)[0]),
    "tokens": code(client.embed_all, "a"),
}))
"""
# What Haystack's embedders use: it learns the contract from the server's reflection.
GRPC_REQUESTS = """
import json, sys
from grpc_requests import Client

target, texts = json.load(sys.stdin)
client = Client(target)
one = client.request("tei.v1.Embed", "Embed", {"inputs": texts[0]})
many = client.stream_stream("tei.v1.Embed", "EmbedStream", ({"inputs": t} for t in texts))
print(json.dumps({"one": one["embeddings"], "many": [reply["embeddings"] for reply in many]}))
"""


def run(program: str, target: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        input=json.dumps([target, TEXTS]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_tei_client_works_unchanged(qwen_server: str):
    got = run(TEI_CLIENT, qwen_server)
    with Client(qwen_server) as client:
        expected = client.embed_documents(TEXTS)
        question = client.embed_query(TEXTS[0])
    np.testing.assert_allclose(got["sync"], expected, atol=1e-5)
    np.testing.assert_allclose(got["async"], expected, atol=1e-5)
    np.testing.assert_allclose(got["query"], question, atol=1e-5)
    assert got["info"] == ["embedding", 512]
    assert got["prompts"] == ["query", "document"]
    assert got["decoded"] == TEXTS[:3]
    assert (got["empty"], got["long"], got["tokens"]) == (
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "UNIMPLEMENTED",
    )
    assert got["cut"] == expected.shape[1]


def test_a_client_that_learns_the_contract_from_reflection_works_unchanged(qwen_server: str):
    got = run(GRPC_REQUESTS, qwen_server)
    with Client(qwen_server) as client:
        expected = client.embed_documents(TEXTS)
    np.testing.assert_allclose(got["one"], expected[0], atol=1e-5)
    np.testing.assert_allclose(got["many"], expected, atol=1e-5)
