"""The books: what became of every text that was accepted to be embedded or scored."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Books:
    """Texts since the start; the event loop's own.

    Attributes:
        accepted: there was room for them. What is refused is never accepted.
        answered: with a row.
        failed: with an error.
        abandoned: their caller had gone, or their stream had ended with an error.
    """

    accepted: int = 0
    answered: int = 0
    failed: int = 0
    abandoned: int = 0

    @property
    def open(self) -> int:
        """Accepted, and nothing else yet; 0 once a server is idle, or a text is lost."""
        return self.accepted - self.answered - self.failed - self.abandoned

    @contextmanager
    def request(self, texts: int) -> Iterator[None]:
        """Keep the books of one request, all or nothing."""
        self.accepted += texts
        try:
            yield
        except asyncio.CancelledError:
            self.abandoned += texts
            raise
        except BaseException:
            self.failed += texts
            raise
        else:
            self.answered += texts
