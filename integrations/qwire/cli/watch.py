"""`qwire info --watch`: a server's load, again and again."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qwire.client import Client
    from qwire.stats import ClassLoad, Stats

_CLEAR = "\x1b[H\x1b[2J"


def watch(client: Client, seconds: float, *, as_json: bool) -> None:
    """Print the load every so many seconds, until Ctrl-C or until the server cannot be reached."""
    before = client.stats()
    while True:
        time.sleep(seconds)
        now = client.stats()
        if as_json:
            print(json.dumps(asdict(now), ensure_ascii=False), flush=True)
        else:
            screen = "\n".join(lines(before, now))
            print(f"{_CLEAR if sys.stdout.isatty() else ''}{screen}\n", flush=True)
        before = now


def lines(before: Stats, now: Stats) -> Iterator[str]:
    """One screen: what waits now, and what happened between two looks."""
    # After a restart the counters are smaller than they were: count from its start.
    first = now.uptime_seconds < before.uptime_seconds
    passed = now.uptime_seconds - (0 if first else before.uptime_seconds)
    per_second = _Rate(max(passed, 1e-9), first=first)
    tokens = per_second(before.tokens, now.tokens)
    bulk = per_second(before.bulk_tokens, now.bulk_tokens)
    batches = per_second(before.batches, now.batches)
    busy = per_second(before.busy_seconds, now.busy_seconds)
    starved = per_second(before.starved_seconds, now.starved_seconds)
    held = now.interactive.held_seconds + now.bulk.held_seconds
    yield (
        f"up {now.uptime_seconds:.0f} s   device busy {busy:.0%}, starved {starved:.0%}   "
        f"{tokens:,.0f} tokens/s   {per_second(before.texts, now.texts):,.0f} texts/s   "
        f"bulk {_part(bulk, tokens):.0%}"
    )
    yield (
        f"queue {held:.2f} of {now.queue_seconds:g} s   {now.clients_active} clients   "
        f"batch fill {now.batch_fill:.0%}   {batches:,.1f} batches/s   "
        f"measured/estimated {now.cost_accuracy:.2f}"
    )
    yield ""
    yield f"{'class':<12} {'held s':>8} {'texts':>8} {'oldest s':>9}"
    yield _class_line("interactive", now.interactive)
    yield _class_line("bulk", now.bulk)
    yield ""
    yield f"{'calls':<24} {'per s':>8} {'in all':>10}"
    yield from _counts(before.calls, now.calls, per_second)
    if now.failures or now.texts_expired:
        yield ""
        yield f"{'failures':<24} {'per s':>8} {'in all':>10}"
        yield from _counts(before.failures, now.failures, per_second)
        expired = {"texts expired in queue": now.texts_expired}
        yield from _counts({"texts expired in queue": before.texts_expired}, expired, per_second)
    if now.clients:
        yield ""
        yield f"{'client':<32} {'class':<12} {'held s':>8} {'oldest s':>9} {'streams':>8}"
    for one in now.clients:
        yield (
            f"{one.client[:32]:<32} {one.request_class:<12} {one.held_seconds:>8.3f} "
            f"{one.oldest_seconds:>9.3f} {one.streams:>8}"
        )


class _Rate:
    """Change of a counter, a second."""

    def __init__(self, seconds: float, *, first: bool) -> None:
        self._seconds = seconds
        self._first = first

    def __call__(self, before: float, now: float) -> float:
        return (now - (0 if self._first else before)) / self._seconds


def _class_line(name: str, load: ClassLoad) -> str:
    return (
        f"{name:<12} {load.held_seconds:>8.3f} {load.texts_waiting:>8} {load.oldest_seconds:>9.3f}"
    )


def _counts(before: Mapping[str, int], now: Mapping[str, int], per_second: _Rate) -> Iterator[str]:
    for name, count in sorted(now.items()):
        yield f"{name:<24} {per_second(before.get(name, 0), count):>8.1f} {count:>10,}"


def _part(of: float, whole: float) -> float:
    return of / whole if whole else 0.0
