"""What the README shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(snippet: str, demo_server: str):
    assert "localhost:50051" in snippet
    names: dict[str, object] = {}
    exec(compile(snippet.replace("localhost:50051", demo_server), "README.md", "exec"), names)
    if embeddings := names.get("embeddings"):
        assert len(embeddings.embed_query("a question")) == 384


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_every_link_leads_somewhere(name: str):
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text("utf-8")):
        assert (ROOT / target).exists(), target
