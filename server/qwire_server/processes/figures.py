"""Counters and metrics of all processes of a server, put together where somebody asks."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from prometheus_client import generate_latest
from prometheus_client.core import Metric

from qwire_server.api.books import Books
from qwire_server.api.stats import ClassStats, ClientStats, Counters, Stats
from qwire_server.engine.queue.admission import Asker
from qwire_server.engine.queue.backlog import Waiting
from qwire_server.engine.work import RequestClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import CollectorRegistry

    from qwire_server.processes.link import Facts

_OWN = {"started", "batch_fill"}  # no sums


def pack_counters(counters: Counters) -> Facts:
    """What one process counted."""
    return {
        **_facts(counters),
        "books": asdict(counters.books),
        "calls": dict(counters.calls),
        "failures": dict(counters.failures),
    }


def sum_counters(all_packed: Iterable[Facts]) -> Counters:
    """Of all processes; `started` is this one's, fill the mean of those that have any."""
    total, fills = Counters(), []
    for packed in all_packed:
        for name, texts in packed["books"].items():
            setattr(total.books, name, getattr(total.books, name) + texts)
        total.calls.update(packed["calls"])
        total.failures.update(packed["failures"])
        if packed["batch_fill"]:
            fills.append(packed["batch_fill"])
        for name, value in packed.items():
            if isinstance(value, (int, float)) and name not in _OWN:
                setattr(total, name, getattr(total, name) + value)
    total.batch_fill = sum(fills) / len(fills) if fills else 0.0
    return total


def pack_waiting(waiting: list[Waiting]) -> list[Any]:
    """What waits in one engine."""
    return [(w.request_class, w.client, w.texts, w.cost, w.since) for w in waiting]


def unpack_waiting(packed: list[Any]) -> list[Waiting]:
    """The same again."""
    return [Waiting(RequestClass(first), *rest) for first, *rest in packed]


def pack_stats(stats: Stats) -> Facts:
    """All of it as plain data."""
    return {
        **_facts(stats),
        "counters": pack_counters(stats.counters),
        "classes": [(int(c), asdict(of_it)) for c, of_it in stats.classes.items()],
        "clients": [
            {**asdict(c), "asker": (c.asker.client, c.asker.request_class)} for c in stats.clients
        ],
    }


def unpack_stats(packed: Facts) -> Stats:
    """The same again."""
    counters = packed["counters"]
    calls = {"calls": Counter(counters["calls"]), "failures": Counter(counters["failures"])}
    return Stats(
        **{
            **packed,
            "counters": Counters(**{**counters, **calls, "books": Books(**counters["books"])}),
            "classes": {RequestClass(c): ClassStats(**of_it) for c, of_it in packed["classes"]},
            "clients": [
                ClientStats(**{**c, "asker": Asker(c["asker"][0], RequestClass(c["asker"][1]))})
                for c in packed["clients"]
            ],
        }
    )


def pack_metrics(registry: CollectorRegistry) -> bytes:
    """Every metric of one process. Takes milliseconds, in any thread."""
    return json.dumps(
        [
            (m.name, m.documentation, m.type, [(s.name, s.labels, s.value) for s in m.samples])
            for m in registry.collect()
        ]
    ).encode()


def exposed(packed: dict[str, bytes]) -> bytes:
    """In Prometheus' text format, with a label `process`; by the name of each process."""
    metrics: dict[str, Metric] = {}
    for process, all_of_it in packed.items():
        for name, documentation, kind, samples in json.loads(all_of_it):
            metric = metrics.setdefault(name, Metric(name, documentation, kind))
            for sample, labels, value in samples:
                metric.add_sample(sample, {**labels, "process": process}, value)
    return generate_latest(_Collected(metrics))


def _facts(record: Any) -> Facts:
    """Fields of a dataclass, as they are."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


class _Collected:
    """What `generate_latest` asks of a registry."""

    def __init__(self, metrics: dict[str, Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield from self._metrics.values()
