"""`examples/node`: the contract serves a language that has no client of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from qwire import Client

FOLDER = Path(__file__).parents[2] / "examples" / "node"
QUESTION = "When do I get my money back?"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The packages that package.json asks for, installed elsewhere."""
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        pytest.skip("Node.js is not installed")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(FOLDER / "package.json", folder)
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install @grpc/grpc-js here: {done.stderr[-300:]}")
    return str(folder / "node_modules")


@pytest.mark.timeout(200)  # npm may have to ask its registry
def test_documents_are_ranked_as_the_python_client_ranks_them(packages: str, demo_server: str):
    done = subprocess.run(
        ["node", "ask.js", demo_server, QUESTION],
        cwd=FOLDER,
        env=os.environ | {"NODE_PATH": packages},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scores, texts = zip(*(line.split(" ", 1) for line in done.stdout.splitlines()), strict=True)
    assert texts[0].startswith("Refunds")
    with Client(demo_server) as client:
        expected = client.embed_documents(texts) @ client.embed_query(QUESTION)
    np.testing.assert_allclose(np.array(scores, float), expected, atol=1e-4)


@pytest.mark.timeout(200)
def test_an_error_is_what_the_server_said(packages: str):
    done = subprocess.run(
        ["node", "ask.js", "127.0.0.1:9", QUESTION],
        cwd=FOLDER,
        env=os.environ | {"NODE_PATH": packages},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "connect" in done.stderr.lower()
