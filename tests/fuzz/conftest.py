from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.web_front import Front, front

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def web() -> Iterator[Front]:
    """A server with both ports and a fake model, for clients that block."""
    with front({"http_token_ids": True}) as running:
        yield running
