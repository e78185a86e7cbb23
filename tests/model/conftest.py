from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import local
from support.models import tiny_qwen3

if TYPE_CHECKING:
    from pathlib import Path

    from qwire_server.load import LoadedModel


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Qwen3 embedding model."""
    return tiny_qwen3(tmp_path_factory.mktemp("model") / "tiny-qwen3")


@pytest.fixture(scope="session")
def qwen(qwen_folder: Path) -> LoadedModel:
    """The same, loaded."""
    return local.load(qwen_folder)


@pytest.fixture(scope="session")
def demo() -> LoadedModel:
    """The demo model, loaded."""
    return local.load("demo")
