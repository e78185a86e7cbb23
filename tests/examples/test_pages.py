"""The code blocks of `migrate.md` and `stores.md`."""

from __future__ import annotations

import ast
import importlib
import re
from importlib.util import find_spec
from pathlib import Path

import openai
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
BEFORE = re.compile("^# before: (.*)$", re.MULTILINE)


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (EXAMPLES / page).read_text("utf-8"), re.DOTALL)


MIGRATE = blocks("migrate.md")
FIRST, *STORES = blocks("stores.md")


def run(code, target):
    names = {}
    exec(compile(code.replace("localhost:50051", target), "page", "exec"), names)
    return names


@pytest.mark.parametrize("block", MIGRATE, ids=range(len(MIGRATE)))
def test_the_new_line_runs(block, demo_server):
    names = run(block, demo_server)
    if embeddings := names.get("embeddings"):
        assert len(embeddings.embed_query("a question")) == 384
    if embed_model := names.get("embed_model"):
        assert len(embed_model.get_query_embedding("a question")) == 384


@pytest.mark.parametrize("block", MIGRATE, ids=range(len(MIGRATE)))
def test_the_old_lines_are_code_and_name_what_exists(block):
    """What is not installed here is only compiled."""
    lines = BEFORE.findall(block)
    assert lines
    for node in ast.parse("\n".join(lines)).body:
        if isinstance(node, ast.ImportFrom) and is_installed(node.module):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


# Constructors that load a model, or fetch one.
LOADS = re.compile(r"\b(HuggingFaceEmbeddings?|SentenceTransformer|SentenceTransformerRerank)\(")


@pytest.mark.parametrize("block", MIGRATE, ids=range(len(MIGRATE)))
def test_the_old_lines_run_with_the_packages_of_today(block, monkeypatch):
    lines = "\n".join(BEFORE.findall(block))
    modules = [n.module for n in ast.parse(lines).body if isinstance(n, ast.ImportFrom)]
    if absent := [module for module in modules if not is_installed(module)]:
        pytest.skip(f"{absent[0]} is not installed")
    if LOADS.search(lines):
        pytest.skip("it loads a model")
    for name in ("OPENAI_API_KEY", "CO_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, "none")
    exec(compile(lines, "page", "exec"), {} if modules else {"OpenAI": openai.OpenAI})


def is_installed(module):
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def test_every_class_of_the_issue_is_mapped():
    page = (EXAMPLES / "migrate.md").read_text("utf-8")
    langchain, _, llama_index = page.partition("## LlamaIndex")
    for name in ("OpenAI", "HuggingFace", "HuggingFaceEndpoint", "Ollama"):
        assert f"before: embeddings = {name}Embeddings(" in langchain
    for name in ("OpenAIEmbedding", "HuggingFaceEmbedding", "OllamaEmbedding"):
        assert f"before: embed_model = {name}(" in llama_index


def test_the_vectors_of_the_stores_are_made(demo_server):
    names = run(FIRST, demo_server)
    with names["client"]:
        assert names["vectors"].shape == (2, 384)
        assert names["question"].shape == (384,)
        assert re.fullmatch(r"\w+", names["fingerprint"])  # part of a name, in every store


@pytest.mark.parametrize("block", STORES, ids=range(len(STORES)))
def test_a_store_takes_what_the_first_block_made(block):
    """Compiled, and every name it uses is its own or the first block's."""
    given = {node.id for node in ast.walk(ast.parse(FIRST)) if isinstance(node, ast.Name)}
    tree = ast.parse(block)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            own.update(alias.asname or alias.name for alias in node.names)
    used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    assert used <= given | own | {"list", "zip", "enumerate", "str", "print"}
    assert used & given


@pytest.mark.parametrize("page", sorted(path.name for path in EXAMPLES.glob("*.md")))
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", (EXAMPLES / page).read_text("utf-8")):
        assert (EXAMPLES / target).exists(), target
