"""The layers import one way, and each knows only what its docstring says."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / "server" / "qwire_server"
# What a package may import at run time, besides itself.
ALLOWED = {
    "checkpoint": {"errors"},
    "model": {"checkpoint", "errors"},
    "text": {"checkpoint", "errors"},
    "engine": {"model", "errors"},
    "security": {"errors"},
    "api": {"engine", "text", "checkpoint", "security", "pb", "errors"},
    "processes": {
        *("api", "engine", "text", "checkpoint", "security", "settings", "logs", "errors"),
        *("build", "backend", "load", "load_all", "load_reranker", "ports", "protection"),
        *("process", "serve"),
    },
    "corpus": {"api", "engine", "build", "load", "security", "settings", "logs", "errors"},
}


QUEUE = sorted((SERVER / "engine" / "queue").glob("*.py"))


def imports(path: Path) -> set[str]:
    """Packages of the server that a file imports, type checking included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {n.split(".")[1] for n in names if n.startswith("qwire_server.")}


@pytest.mark.parametrize("package", ALLOWED)
def test_a_layer_imports_only_those_below_it(package: str):
    for path in (SERVER / package).rglob("*.py"):
        assert imports(path) <= ALLOWED[package] | {package}, path


@pytest.mark.parametrize(
    ("module", "foreign"),
    [
        ("qwire_server.engine.engine", ["torch", "grpc", "google", "tokenizers"]),
        ("qwire_server.checkpoint.layout", ["torch", "grpc", "google", "tokenizers"]),
        ("qwire_server.api.embedder", ["torch", "grpc", "google"]),
        ("qwire_server.settings", ["torch", "grpc", "transformers"]),
        ("qwire", ["torch", "pydantic", "transformers", "qwire_server"]),
        ("qwire.cli", ["torch", "pydantic", "pyarrow", "ray", "qwire_server"]),
    ],
)
def test_a_module_runs_without_what_it_must_not_know(module: str, foreign: list[str]):
    code = f"import sys, {module}; print(*(m for m in {foreign!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", QUEUE, ids=lambda p: p.stem)
def test_the_queue_has_no_clock_no_lock_and_no_luck(path: Path):
    tree = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    imported = {node.module for node in tree if isinstance(node, ast.ImportFrom)}
    imported |= {
        alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names
    }
    forbidden = {"time", "threading", "asyncio", "random", "datetime", "os", "logging"}
    assert not imported & (forbidden | {"qwire_server.engine.clock"})


def test_files_stay_readable():
    """No file of the server is longer than 450 lines: what is read together stands together."""
    generated = set((SERVER / "pb").rglob("*.py"))
    for path in set(SERVER.rglob("*.py")) - generated:
        assert len(path.read_text("utf-8").splitlines()) <= 450, path
