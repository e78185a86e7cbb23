"""A server's load in words: a screen, a line, an object. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qwire.stats import ClassLoad, Stats

_BAR = 20  # characters


class Rates:
    """What happened between two looks, a second."""

    def __init__(self, before: Stats, now: Stats) -> None:
        # After a restart the counters are smaller than they were: count from its start.
        first = now.uptime_seconds < before.uptime_seconds
        passed = now.uptime_seconds - (0 if first else before.uptime_seconds)
        self._first = first
        self._seconds = max(passed, 1e-9)
        self.tokens = self.of(before.tokens, now.tokens)
        self.texts = self.of(before.texts, now.texts)
        self.batches = self.of(before.batches, now.batches)
        self.busy = min(self.of(before.busy_seconds, now.busy_seconds), 1.0)
        self.starved = min(self.of(before.starved_seconds, now.starved_seconds), 1.0)
        self.bulk = _part(self.of(before.bulk_tokens, now.bulk_tokens), self.tokens)
        self.saved = _part(self.of(before.saved_tokens, now.saved_tokens), self.tokens)
        self.failures = {
            name: self.of(before.failures.get(name, 0), count)
            for name, count in now.failures.items()
        }

    def of(self, before: float, now: float) -> float:
        """Change of a counter."""
        return (now - (0 if self._first else before)) / self._seconds


def screen(before: Stats, now: Stats) -> Iterator[str]:
    """What waits now, and what happened between two looks."""
    rates = Rates(before, now)
    held = now.interactive.held_seconds + now.bulk.held_seconds
    yield (
        f"device  {_bar(rates.busy, rates.starved)}  busy {rates.busy:.0%}, "
        f"starved {rates.starved:.0%}   {rates.tokens:,.0f} tokens/s   {rates.texts:,.0f} texts/s"
        f"   bulk {rates.bulk:.0%}   saved {rates.saved:.0%}"
    )
    yield (
        f"queue   {_bar(_part(held, now.queue_seconds))}  {held:.2f} of {now.queue_seconds:g} s   "
        f"{now.clients_active} clients"
    )
    yield (
        f"batches {_bar(now.batch_fill)}  fill {now.batch_fill:.0%}   {rates.batches:,.1f} a second"
        f"   measured/estimated {now.cost_accuracy:.2f}   up {_span(now.uptime_seconds)}"
    )
    yield ""
    yield f"{'class':<12} {'held s':>8} {'texts':>8} {'oldest s':>9}"
    yield _class_line("interactive", now.interactive)
    yield _class_line("bulk", now.bulk)
    yield ""
    yield from _table("calls", before.calls, now.calls, rates)
    failures = {**now.failures, "texts expired in queue": now.texts_expired}
    if any(failures.values()):
        past = {**before.failures, "texts expired in queue": before.texts_expired}
        yield ""
        yield from _table("failures", past, failures, rates)
    if now.clients:
        yield ""
        yield f"{'client':<32} {'class':<12} {'held s':>8} {'oldest s':>9} {'streams':>8}"
    for one in now.clients:
        yield (
            f"{_printable(one.client)[:32]:<32} {one.request_class:<12} {one.held_seconds:>8.3f} "
            f"{one.oldest_seconds:>9.3f} {one.streams:>8}"
        )


def one_line(before: Stats, now: Stats) -> str:
    """The same in short: names and values, to be read and to be cut apart."""
    rates = Rates(before, now)
    facts = {
        "busy": f"{rates.busy:.0%}",
        "starved": f"{rates.starved:.0%}",
        "tokens/s": f"{rates.tokens:.0f}",
        "texts/s": f"{rates.texts:.0f}",
        "fill": f"{now.batch_fill:.0%}",
        "held": f"{now.interactive.held_seconds + now.bulk.held_seconds:.2f}s",
        "of": f"{now.queue_seconds:g}s",
        "interactive": f"{now.interactive.texts_waiting}",
        "oldest": f"{now.interactive.oldest_seconds:.2f}s",
        "bulk": f"{now.bulk.texts_waiting}",
        "oldest_bulk": f"{now.bulk.oldest_seconds:.2f}s",
        "clients": f"{now.clients_active}",
        **{f"{name}/s": f"{rate:.1f}" for name, rate in sorted(rates.failures.items()) if rate},
    }
    return " ".join(f"{name}={value}" for name, value in facts.items())


def as_object(now: Stats) -> str:
    """Everything, as JSON."""
    return json.dumps(asdict(now), ensure_ascii=False)


def _table(
    title: str, before: Mapping[str, int], now: Mapping[str, int], rates: Rates
) -> Iterator[str]:
    yield f"{title:<24} {'per s':>8} {'in all':>10}"
    for name, count in sorted(now.items()):
        yield f"{name:<24} {rates.of(before.get(name, 0), count):>8.1f} {count:>10,}"


def _class_line(name: str, load: ClassLoad) -> str:
    return (
        f"{name:<12} {load.held_seconds:>8.3f} {load.texts_waiting:>8} {load.oldest_seconds:>9.3f}"
    )


def _bar(full: float, beside: float = 0.0) -> str:
    """`[###--     ]`: a part of the whole, and another one after it."""
    first = round(min(full, 1.0) * _BAR)
    both = min(round(min(full + beside, 1.0) * _BAR), _BAR)
    return f"[{'#' * first + '-' * (both - first):<{_BAR}}]"


def _span(seconds: float) -> str:
    """`3 s`, `12 min`, `5 h 7 min`, `3 d 4 h`."""
    minutes = int(seconds) // 60
    if not minutes:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _printable(name: str) -> str:
    """What a certificate is called must not move the cursor."""
    return "".join(c if c.isprintable() else "?" for c in name)


def _part(of: float, whole: float) -> float:
    return of / whole if whole else 0.0
