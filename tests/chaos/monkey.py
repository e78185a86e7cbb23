"""Does things to a fleet, one after the other, at random; remembers what."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from support.machine_speed import hang_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.fleet import Fleet
    from support.fake_process import Process
    from support.proxy import Proxy

LEAST_PAUSE, MOST_PAUSE = 0.2, 1.2  # seconds between two faults
DEADLY = {"SIGKILL", "SIGTERM", "device lost", "device hangs"}
LASTS = 0.8  # seconds, of those that pass
HALF_WRITTEN = 1.5  # seconds: servers look once a second


class Monkey:
    """Strikes one server of a fleet at a time.

    Args:
        fleet: to strike.
        seed: of its choices.
    """

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.struck: Counter[str] = Counter()
        self._fleet = fleet
        self._draw = random.Random(seed)
        self._acts: dict[str, Callable[[Process, Proxy], None]] = {
            "reset": lambda _, proxy: proxy.reset(),
            "half-open": lambda _, proxy: proxy.swallow(),
            "outage": self._outage,
            "throttle": self._throttle,
            "SIGSTOP": self._freeze,
            "SIGKILL": lambda server, _: server.crash(),
            "SIGTERM": lambda server, _: server.drain(),
            "out of memory": lambda server, _: server.tell("oom"),
            "NaN": lambda server, _: server.tell("nan"),
            "model raises": lambda server, _: server.tell("raise"),
            "tokenizer": lambda server, _: server.tell("tokenizer"),
            "device lost": lambda server, _: server.tell("lost"),
            "device hangs": lambda server, _: server.tell("hang"),
            "keys changed": lambda *_: fleet.keys.change(),
            "keys half-written": self._half_written,
        }

    def strike_for(self, seconds: float) -> None:
        """Each kind once, in any order, and then at random until the time is over."""
        ends = time.monotonic() + hang_limit(seconds)
        names = list(self._acts)
        self._draw.shuffle(names)
        while time.monotonic() < ends:
            name = names.pop() if names else self._draw.choice(list(self._acts))
            number = self._draw.randrange(len(self._fleet.servers))
            if name in DEADLY:
                self._wait_for_the_others(number)
            self._acts[name](self._fleet.servers[number], self._fleet.proxies[number])
            self.struck[name] += 1
            time.sleep(self._draw.uniform(LEAST_PAUSE, MOST_PAUSE))

    def _wait_for_the_others(self, number: int) -> None:
        """A fleet with nobody left holds no load, and shows nothing."""
        others = [s for i, s in enumerate(self._fleet.servers) if i != number]
        while not all(server.serves for server in others):
            time.sleep(0.05)

    @staticmethod
    def _outage(_: Process, proxy: Proxy) -> None:
        proxy.hold()
        time.sleep(LASTS)
        proxy.release()

    def _half_written(self, *_: object) -> None:
        """Whoever starts meanwhile refuses to, and is started again."""
        self._fleet.keys.spoil()
        time.sleep(HALF_WRITTEN)
        self._fleet.keys.change()

    @staticmethod
    def _throttle(_: Process, proxy: Proxy) -> None:
        proxy.throttle(50_000)
        time.sleep(LASTS)
        proxy.throttle(0)

    @staticmethod
    def _freeze(server: Process, _: Proxy) -> None:
        server.freeze()
        time.sleep(LASTS)
        server.thaw()
