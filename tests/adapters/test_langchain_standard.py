"""LangChain's own suites, the second against a real server."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_qwire import QwireEmbeddings

# Missing only where the oldest langchain-core is tested: its suite wants another pytest.
pytest.importorskip("langchain_tests")
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[QwireEmbeddings]:
        return QwireEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "Qwen/Qwen3-Embedding-0.6B"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        target = "grpcs://embeddings.example:443"
        environment = {"QWIRE_TARGET": target, "QWIRE_API_KEY": "from-environment"}
        return environment, {}, {"target": target, "api_key": "from-environment"}


class TestIntegration(EmbeddingsIntegrationTests):
    @pytest.fixture(autouse=True)
    def _target(self, demo_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("QWIRE_TARGET", demo_server)

    @property
    def embeddings_class(self) -> type[QwireEmbeddings]:
        return QwireEmbeddings
