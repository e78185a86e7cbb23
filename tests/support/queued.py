"""Texts for the queue's policy, which looks at their cost and never at their tokens."""

from __future__ import annotations

import itertools

import numpy as np

from qwire_server.engine.queue.item import Entry, Item
from qwire_server.engine.work import RequestClass, RowForm, Work

INTERACTIVE, BULK = RequestClass.INTERACTIVE, RequestClass.BULK
_KEYS = itertools.count(1)
_NO_IDS = np.zeros(0, np.int32)


def request(
    *costs: int,
    client: str = "c",
    request_class: RequestClass = INTERACTIVE,
    model: str = "m",
    deadline: float = float("inf"),
    since: int = 0,
) -> list[Item]:
    """The texts of one request; each has as many tokens as it costs microseconds."""
    work = Work(
        key=next(_KEYS),
        token_ids=[_NO_IDS] * len(costs),
        costs=list(costs),
        form=RowForm(8),
        model=model,
        request_class=request_class,
        deadline=deadline,
        client=client,
    )
    entry = Entry(work, since)
    return [Item(entry, i, cost, cost) for i, cost in enumerate(costs)]
