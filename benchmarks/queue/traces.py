"""The traffic: who sends what, and all parameters of it. Lengths are log-normal, in tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.queue.machines import EVEN, LARGE, SLOW, SMALL, Machine
from benchmarks.queue.simulation import Simulation, question

if TYPE_CHECKING:
    from benchmarks.queue.request import Request

QUERY = (16.0, 0.5, 256)  # median, sigma, most
PARAGRAPH = (50.0, 0.8, 256)
DOCUMENT = (300.0, 1.0, 2048)
QUESTION = (60.0, 1.2, 2048)
SAME = (50.0, 0.5, 256)
DEAR = 4000
TIMEOUT = 60.0  # seconds, the client's default
IMPATIENT = 30.0


@dataclass(frozen=True)
class Trace:
    """What all traces have; `start` puts the clients before the server."""

    title: str = ""
    seconds: float = 600
    machine: Machine = EVEN
    probes: float = 0.0

    def start(self, simulation: Simulation) -> None:
        """Begin."""
        raise NotImplementedError

    def equals(self) -> list[str]:
        """Clients that ask for the same, and more than their share; empty if there are none."""
        return []


@dataclass(frozen=True)
class Reindex(Trace):
    """Callers who ask, read, and ask again, beside streams that never end."""

    title: str = "a re-index beside 20 people"
    machine: Machine = SMALL
    callers: int = 20
    think_seconds: float = 4
    streams: int = 1

    def start(self, simulation: Simulation) -> None:
        """The streams first: people find them at work."""
        for n in range(self.streams):
            simulation.stream(f"job {n}", PARAGRAPH)
        names = [f"person {n}" for n in range(self.callers)]
        _closed(simulation, names, QUERY, pause=self.think_seconds)


@dataclass(frozen=True)
class Mixed(Trace):
    """Documents of any length and questions of any length, more than the device can take."""

    title: str = "documents and questions of any length, large device"
    machine: Machine = LARGE
    seconds: float = 60
    callers: int = 50
    think_seconds: float = 0.5
    streams: int = 3

    def start(self, simulation: Simulation) -> None:
        """Everybody at once."""
        for n in range(self.streams):
            simulation.stream(f"job {n}", DOCUMENT)
        names = [f"person {n}" for n in range(self.callers)]
        _closed(simulation, names, QUESTION, pause=self.think_seconds)


@dataclass(frozen=True)
class Day(Trace):
    """Ten thousand clients of very unequal size, who come in sessions; streams in the night."""

    title: str = "a day: 10,000 unequal clients"
    seconds: float = 86_400
    machine: Machine = SLOW
    clients: int = 10_000
    client_tail: float = 1.2  # Pareto: the share of a client
    load: float = 0.7
    bulk: float = 0.4  # part of the load that comes in streams
    session_tail: float = 1.5  # Pareto: requests of a session, 1 to `session_most`
    session_most: int = 300
    session_short: int = 10  # requests; who sends more is told apart in the figures
    session_rate: float = 5.0  # requests a second inside a session
    stream_tail: float = 1.3  # Pareto: texts of a stream, from `stream_least` to `stream_most`
    stream_least: int = 50
    stream_most: int = 100_000

    def start(self, simulation: Simulation) -> None:
        """Draw the whole day, then let it happen."""
        rng = simulation.rng
        shares = rng.pareto(self.client_tail, self.clients) + 0.05
        shares /= shares.sum()
        busy = self.seconds * 1e6 * self.load
        per_question = _mean_cost(simulation, QUESTION)
        per_document = _mean_cost(simulation, DOCUMENT)
        self._questions(simulation, shares, busy * (1 - self.bulk) / per_question)
        self._streams(simulation, shares, busy * self.bulk / per_document)

    def _questions(self, simulation: Simulation, shares: np.ndarray, count: float) -> None:
        rng = simulation.rng
        sizes = _pareto(rng, self.session_tail, 1, self.session_most, count)
        starts = rng.uniform(0, self.seconds, len(sizes))
        gaps = rng.exponential(1 / self.session_rate, sizes.sum())
        first = np.repeat(np.cumsum(sizes) - sizes, sizes)
        inside = np.cumsum(gaps)
        times = np.repeat(starts, sizes) + inside - inside[first]
        clients = np.repeat(rng.choice(self.clients, len(sizes), p=shares), sizes)
        order = np.argsort(times, kind="stable")
        order = order[times[order] < self.seconds]
        tokens = simulation.lengths(len(order), *QUESTION)
        drawn = zip(
            (times[order] * 1e6).astype(np.int64).tolist(),
            np.repeat(sizes <= self.session_short, sizes)[order].tolist(),
            clients[order].tolist(),
            tokens.tolist(),
            simulation.guesses(tokens).tolist(),
            strict=True,
        )
        callers = simulation.callers()
        names = [[f"{kind} {n}" for n in range(self.clients)] for kind in ("long", "short")]
        simulation.world.feed(
            (time, callers.send, question(callers, names[k][c], n, g, born=time, timeout=TIMEOUT))
            for time, k, c, n, g in drawn
        )

    def _streams(self, simulation: Simulation, shares: np.ndarray, texts: float) -> None:
        rng = simulation.rng
        sizes = _pareto(rng, self.stream_tail, self.stream_least, self.stream_most, texts)
        clients = rng.choice(self.clients, len(sizes), p=shares)
        starts = (rng.uniform(0, self.seconds, len(sizes)) * 1e6).astype(np.int64)
        for size, client, start in zip(
            sizes.tolist(), clients.tolist(), starts.tolist(), strict=True
        ):
            simulation.stream(f"long {client}", DOCUMENT, size, start)


@dataclass(frozen=True)
class Overload(Trace):
    """Equal clients who together ask for more than there is, each as often as it likes."""

    title: str = "three times too much"
    clients: int = 100
    seconds: float = 120
    factor: float = 3.0
    timeout: float = IMPATIENT

    def equals(self) -> list[str]:
        """All of them."""
        return [f"client {n}" for n in range(self.clients)]

    def start(self, simulation: Simulation) -> None:
        """All of them from the start."""
        rate = self.factor * 1e6 / _mean_cost(simulation, SAME)
        names = self.equals()
        simulation.poisson(
            simulation.callers(),
            rate,
            lambda count: simulation.draws.choices(names, k=count),
            SAME,
            lambda count: [self.timeout] * count,
        )


@dataclass(frozen=True)
class Greedy(Trace):
    """One client with very many calls in flight, among others who together ask for 60 %."""

    title: str = "one greedy client among 50"
    clients: int = 50
    load: float = 0.6
    in_flight: int = 2000

    def start(self, simulation: Simulation) -> None:
        """The greedy one from the start."""
        _closed(simulation, ["greedy"] * self.in_flight, SAME, pause=0)
        names = [f"client {n}" for n in range(self.clients)]
        simulation.poisson(
            simulation.callers(),
            self.load * 1e6 / _mean_cost(simulation, SAME),
            lambda count: simulation.draws.choices(names, k=count),
            SAME,
            lambda count: [TIMEOUT] * count,
        )


@dataclass(frozen=True)
class OnOff(Trace):
    """One client that has a single dear text waiting at a time, beside others with long lines."""

    title: str = "one dear text at a time beside ten long lines"
    clients: int = 10
    in_flight: int = 20

    def equals(self) -> list[str]:
        """The lines, and the one beside them."""
        return [*(f"client {n}" for n in range(self.clients)), "dear one"]

    def start(self, simulation: Simulation) -> None:
        """Long lines first."""
        names = [f"client {n}" for n in range(self.clients)] * self.in_flight
        _closed(simulation, names, SAME, pause=0)
        _closed(simulation, ["dear one"], (DEAR, 0.0, DEAR), pause=0)


@dataclass(frozen=True)
class Deadlines(Trace):
    """Some more than the device can take, by callers of all degrees of patience."""

    title: str = "deadlines of 0.3 to 20 s at 1.3 times capacity"
    load: float = 1.3
    clients: int = 200
    tail: float = 1.2
    least_seconds: float = 0.3
    most_seconds: float = 20
    probes: float = 0.05

    def start(self, simulation: Simulation) -> None:
        """Unequal clients."""
        rng = simulation.rng
        shares = rng.pareto(self.tail, self.clients) + 0.05
        names = [f"client {n}" for n in range(self.clients)]
        low, high = np.log(self.least_seconds), np.log(self.most_seconds)
        texts = (60.0, 0.8, 1024)
        simulation.poisson(
            simulation.callers(),
            self.load * 1e6 / _mean_cost(simulation, texts),
            lambda count: simulation.draws.choices(names, weights=shares.tolist(), k=count),
            texts,
            lambda count: np.exp(rng.uniform(low, high, count)).tolist(),
        )


def _closed(
    simulation: Simulation, names: list[str], texts: tuple[float, float, int], *, pause: float
) -> None:
    """Clients that wait for an answer, think, and ask again; a name that comes twice asks twice."""
    world, draws, rng = simulation.world, simulation.draws, simulation.rng
    ready: list[tuple[int, int]] = []

    def ask(name: str) -> None:
        if world.now >= simulation.until:
            return
        if not ready:
            tokens = simulation.lengths(1024, *texts)
            ready.extend(zip(tokens.tolist(), simulation.guesses(tokens).tolist(), strict=True))
        length, guess = ready.pop()
        callers.send(question(callers, name, length, guess, born=world.now, timeout=TIMEOUT))

    def again(request: Request) -> None:
        delay = draws.expovariate(1 / pause) if pause else 0.0
        world.at(world.now + int(delay * 1e6), ask, request.asker.client)

    callers = simulation.callers(again)
    for name in names:
        world.at(int(rng.uniform(0, max(pause, 0.1)) * 1e6), ask, name)


def _mean_cost(simulation: Simulation, texts: tuple[float, float, int]) -> float:
    """Microseconds of a text, from a large sample of its own."""
    rng = np.random.default_rng(0)
    median, sigma, most = texts
    tokens = np.clip(np.exp(rng.normal(np.log(median), sigma, 20_000)), 3, most)
    return float(np.mean([simulation.machine.text(int(n)) for n in tokens]))


def _pareto(
    rng: np.random.Generator, tail: float, least: int, most: int, total: float
) -> np.ndarray:
    """Sizes of Pareto's law, as many as add up to a total."""
    drawn: list[np.ndarray] = []
    so_far = 0
    while so_far < total:
        some = np.minimum((rng.pareto(tail, 4096) + 1) * least, most).astype(np.int64)
        drawn.append(some)
        so_far += int(some.sum())
    sizes = np.concatenate(drawn)
    return sizes[: int(np.searchsorted(np.cumsum(sizes), total)) + 1]
