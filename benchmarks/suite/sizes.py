"""How long the suite measures, and with what. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

STREAMS = 8
CHUNK_TEXTS = 64
CALLERS = 64


@dataclass(frozen=True, slots=True)
class Sizes:
    """Times in seconds.

    Attributes:
        rounds: of a stream cell and of requests of many texts beside a peer, each way once a round.
        single_rounds: of single texts beside a peer: calls of few texts vary most.
        stream: of a stream cell; how many texts that takes is told by the bare forward.
        window: of callers, and of bulk beside questions.
        warm: before each window.
        bare, peer: of the bare forward, and of each way of each peer.
        lengths: of the uniform texts, most important first; those that a model does not take are
            left out.
        peer_workloads: that peers are measured on.
        batch_sizes: among which sentence-transformers has its best.
        long: of the bulk texts that are reported apart.
        rate: questions a second beside bulk.
        questions: on an idle server.
        sides: of the square matrices whose product is the measure of the hardware.
    """

    rounds: int
    single_rounds: int
    stream: float
    window: float
    warm: float
    bare: float
    peer: float
    lengths: tuple[int, ...]
    peer_workloads: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    long: tuple[int, ...]
    rate: float
    questions: int
    sides: tuple[int, ...]


GPU = Sizes(
    rounds=1,
    single_rounds=1,
    stream=5,
    window=8,
    warm=2,
    bare=2,
    peer=3,
    lengths=(512, 50, 2048, 128, 16, 8192),
    peer_workloads=("uniform-512", "uniform-50", "log-normal", "uniform-128", "uniform-16"),
    batch_sizes=(32, 64, 128, 256),
    long=(8192, 32_768),
    rate=50,
    questions=200,
    sides=(4096, 8192),
)
CPU = Sizes(
    rounds=3,  # what else the machine does disturbs more
    single_rounds=9,
    stream=4,
    window=5,
    warm=2,
    bare=2,
    peer=3,
    lengths=(128, 50, 16, 512),
    peer_workloads=("uniform-128", "log-normal", "instructed", "uniform-50"),
    batch_sizes=(4, 8, 16, 32),
    long=(),
    rate=2,  # fifty a second are more than a CPU computes
    questions=60,
    sides=(2048,),
)
QUICK = Sizes(
    rounds=1,
    single_rounds=1,
    stream=0.3,
    window=0.5,
    warm=0.1,
    bare=0.1,
    peer=0.1,
    lengths=(16,),
    peer_workloads=("log-normal", "uniform-16"),
    batch_sizes=(8,),
    long=(64,),
    rate=5,
    questions=3,
    sides=(256,),
)


def of(device: str, *, quick: bool, rate: float | None) -> Sizes:
    """The sizes for a device, with another rate of questions if one is given."""
    sizes = QUICK if quick else {"cuda": GPU, "cpu": CPU}[device]
    return sizes if rate is None else replace(sizes, rate=rate)
