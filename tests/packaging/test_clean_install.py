"""The built wheels in an environment that holds nothing else: what a user gets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = "Scripts" if os.name == "nt" else "bin"

# Slow, and with a long limit, because pip downloads both frameworks.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def clean(releases, tmp_path_factory):
    """Run a program of an environment with all our wheels, away from the repository."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    here = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(program, *arguments):
        command = [folder / "venv" / SCRIPTS / program, *arguments]
        return subprocess.run(
            command, cwd=folder, env=here, capture_output=True, text=True, check=False
        )

    wheels = [str(each.wheel) for each in releases]
    installed = run("python", "-m", "pip", "install", "-c", ROOT / "constraints.txt", *wheels)
    assert installed.returncode == 0, installed.stderr
    return run


def test_the_client_and_all_adapters_import_without_the_server(clean):
    """None of them pulls torch in."""
    code = (
        "import sys, qwire, langchain_qwire, llama_index.core\n"
        "from langchain_qwire import QwireEmbeddings\n"
        "from llama_index.embeddings.qwire import QwireEmbedding\n"
        "from llama_index.postprocessor.qwire import QwireRerank\n"
        "assert 'torch' not in sys.modules"
    )
    done = clean("python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert clean("python", "-c", "import torch").returncode == 1


def test_the_stubs_import_with_the_type_markers_beside_them(clean):
    """From the wheel, not from the tree."""
    code = (
        "import importlib.resources as r, qwire.v1.embedding_pb2_grpc\n"
        "import qwire.v1.rerank_pb2_grpc\n"
        "leaves = 'llama_index.embeddings.qwire', 'llama_index.postprocessor.qwire'\n"
        "for name in ('qwire', 'langchain_qwire', *leaves):\n"
        "    assert (r.files(name) / 'py.typed').is_file(), name\n"
        "    assert 'site-packages' in str(r.files(name)), name"
    )
    done = clean("python", "-W", "error::UserWarning:google", "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_command_answers(clean):
    """With nothing but the client installed."""
    done = clean("qwire", "--help")
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout


def test_serve_without_the_server_names_the_pip_line(clean):
    """Not a traceback: exit status 2 and the line to type."""
    done = clean("qwire", "serve")
    assert done.returncode == 2, done.stderr
    assert "qwire[server]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_wheels_agree_on_what_they_need(clean):
    """`pip check` finds no conflict."""
    done = clean("python", "-m", "pip", "check")
    assert done.returncode == 0, done.stdout
