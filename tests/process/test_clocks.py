"""The wall clock jumps, by hand, by NTP, after a suspended machine: nothing may wait by it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "server" / "qwire_server", ROOT / "integrations"]
WALL = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today"}
ALLOWED = {
    "api/otel.py": "the times of spans, for display",
    "api/http/openai.py": "`created` of /v1/models, for display",
    "qwire/cli/key.py": "`created` of a key, for display",
    "security/certificate.py": "compares with the times that a certificate says",
    "security/tls.py": "likewise",
    "checkpoint/hash_memory.py": "compares with the time that a file says it was changed",
    "security/watched.py": "compares with the time that a file says it was changed",
}


def readings(path: Path) -> set[str]:
    """Names of wall clocks that a file uses, called or handed on."""
    tree = ast.parse(path.read_text("utf-8"))
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return {name for name in names | imported if any(name.endswith(wall) for wall in WALL)}


def test_only_what_is_displayed_or_compared_with_files_reads_the_wall_clock():
    found = {
        path: readings(path)
        for package in PACKAGES
        for path in package.rglob("*.py")
        if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))
    }
    assert len(found) > 100
    for path, names in found.items():
        allowed = any(path.as_posix().endswith(name) for name in ALLOWED)
        assert allowed or not names, f"{path} reads {names}: use time.monotonic, or say why not"


def test_those_that_may_still_do():
    """Or the list would outlive its reasons."""
    for name in ALLOWED:
        (path,) = (
            found
            for package in PACKAGES
            for found in package.rglob(Path(name).name)
            if found.as_posix().endswith(f"/{name}")
        )
        assert readings(path), name
