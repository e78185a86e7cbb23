from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.web_front import Front, front

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def web() -> Iterator[Front]:
    """A server with a fake model of 16 values, 128 tokens and Qwen3's query prompt."""
    with front({}, dim=16) as running:
        yield running
