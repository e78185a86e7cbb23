"""One run: a trace, a policy, a seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.queue.callers import Callers, Stream
from benchmarks.queue.ledger import Ledger
from benchmarks.queue.ours import STREAM_BATCHES, Ours
from benchmarks.queue.peers import FirstCome, Permits
from benchmarks.queue.request import Request
from benchmarks.queue.server import Server
from benchmarks.queue.world import World
from qwire_server.engine.queue.backlog import BatchLimits
from qwire_server.engine.work import RequestClass
from qwire_server.text.pool import slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from benchmarks.queue.machines import Machine
    from benchmarks.queue.policy import Policy

POLICIES = {
    "ours": "Qwire",
    "first": "first come, first served",
    "permits": "512 permits",
}
NOISE = 0.05  # sigma of a forward's time
GUESS_SIGMA = 0.2  # of the tokens guessed from a text's bytes
CHUNK_TEXTS = 64
_BLOCK = 4096


class Simulation:
    """What a trace needs to put clients before a server.

    Args:
        policy: a key of `POLICIES`.
        seconds: during which clients send; what is under way then is still answered.
        probes: see `Callers`.
    """

    def __init__(
        self, policy: str, machine: Machine, *, seed: int, seconds: float, probes: float = 0.0
    ) -> None:
        self.world = World()
        self.until = int(seconds * 1e6)
        self.machine = machine
        self.ledger = Ledger(self.until)
        self.draws = random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.policy = _policy(policy, machine)
        noise = random.Random(seed + 1)
        self.server = Server(self.world, self.policy, machine, self.ledger, rng=noise, noise=NOISE)
        self._probes = probes

    def callers(self, on_end: Callable[[Request], None] | None = None) -> Callers:
        """Clients of single requests."""
        return Callers(
            self.world, self.server, self.ledger, self.draws, on_end=on_end, probes=self._probes
        )

    def lengths(self, count: int, median: float, sigma: float, most: int) -> NDArray[np.int64]:
        """Tokens of texts, log-normal."""
        drawn = np.exp(self.rng.normal(np.log(median), sigma, count))
        return np.clip(drawn, 3, most).astype(np.int64)

    def guesses(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """What a server would guess from the bytes of such texts."""
        factor = np.exp(self.rng.normal(0, GUESS_SIGMA, len(tokens)))
        return (tokens * factor).astype(np.int64) + 2

    def poisson(
        self,
        callers: Callers,
        rate: float,
        client: Callable[[int], list[str]],
        texts: tuple[float, float, int],
        timeouts: Callable[[int], list[float]],
    ) -> None:
        """Single texts that come independently, until the end.

        Args:
            callers: who sends.
            rate: a second, all clients together.
            client: draws so many names.
            texts: median, sigma and most of their tokens.
            timeouts: draws so many, seconds.
        """
        self.world.feed(self._arrivals(callers, rate, client, texts, timeouts))

    def stream(
        self, client: str, texts: tuple[float, float, int], count: int | None = None, at: int = 0
    ) -> None:
        """A stream of so many texts; None reads on until the end."""

        def chunks(stream: Stream) -> Iterator[Request]:
            left = count
            while self.world.now < self.until and left != 0:
                size = CHUNK_TEXTS if left is None else min(left, CHUNK_TEXTS)
                left = None if left is None else left - size
                yield from self._slices(stream, client, self.lengths(size, *texts))

        stream = Stream(self.world, self.server, self.ledger, chunks)
        self.world.at(at, stream.read)

    def _slices(self, stream: Stream, client: str, lengths: NDArray[np.int64]) -> Iterator[Request]:
        tokens, guess = lengths.tolist(), self.guesses(lengths).tolist()
        for part in slices(guess, self.machine.batch_tokens):
            yield Request(
                stream,
                client,
                RequestClass.BULK,
                tokens[part],
                guess[part],
                born=self.world.now,
                streamed=True,
            )

    def _arrivals(
        self,
        callers: Callers,
        rate: float,
        client: Callable[[int], list[str]],
        texts: tuple[float, float, int],
        timeouts: Callable[[int], list[float]],
    ) -> Iterator[tuple[int, Callable[[Request], None], Request]]:
        now, send = 0.0, callers.send
        while now < self.until:
            times = now + np.cumsum(self.rng.exponential(1e6 / rate, _BLOCK))
            tokens = self.lengths(_BLOCK, *texts)
            now = float(times[-1])
            drawn = zip(
                times.astype(np.int64).tolist(),
                client(_BLOCK),
                tokens.tolist(),
                self.guesses(tokens).tolist(),
                timeouts(_BLOCK),
                strict=True,
            )
            for time, name, length, guess, timeout in drawn:
                if time >= self.until:
                    return
                yield time, send, question(callers, name, length, guess, born=time, timeout=timeout)


def question(
    callers: Callers, client: str, tokens: int, guess: int, *, born: int, timeout: float
) -> Request:
    """A request of one text."""
    return Request(
        callers, client, RequestClass.INTERACTIVE, [tokens], [guess], born=born, timeout=timeout
    )


def _policy(name: str, machine: Machine) -> Policy:
    if name == "first":
        return FirstCome(machine.batch_tokens, STREAM_BATCHES * machine.batch_tokens)
    if name == "permits":
        return Permits(machine.batch_tokens)
    return Ours(BatchLimits(machine.batch_tokens, machine.launch), machine.believed())
