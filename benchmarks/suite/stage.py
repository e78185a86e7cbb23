"""The processes that one model is measured with: started when first needed, ended together."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from benchmarks.process import ServerProcess
from benchmarks.shapes import read_shape
from benchmarks.suite.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from benchmarks.suite.sizes import Sizes
    from benchmarks.suite.workloads import Workload

_QUESTIONS_EXPECTED_SECONDS = 10.5  # the server keeps batches short so long after a question
_START_SECONDS = 400  # a 4B model that is compiled for the first time


class Unfit(Exception):
    """The model is none for this cell; the message says why."""


class Stage:
    """One model on one device.

    Args:
        model: what `qwire serve --model` takes.
        folder: that it is in.
        device: "cpu" or "cuda".
        flags: more flags of the server, which the bare forward gets too.
        sizes: how long to measure.
        peers: "sentence-transformers", "infinity".

    Attributes:
        asked: when the server last got a question.
    """

    def __init__(
        self,
        model: str,
        folder: Path,
        device: str,
        *,
        flags: list[str],
        sizes: Sizes,
        peers: tuple[str, ...],
    ) -> None:
        self.folder, self.device, self.sizes, self.peers = folder, device, sizes, peers
        self.shape = read_shape(folder)
        self.asked = 0.0
        self._flags = [
            "--model",
            model,
            "--device",
            device,
            "--grpc-port",
            "0",
            "--http-port",
            "off",
            *flags,
        ]
        self._others = ExitStack()
        self._serving = ExitStack()
        self._target = ""

    @property
    def target(self) -> str:
        """Of the server, as soon as it is ready."""
        if not self._target:
            self.restart()
        return self._target

    @cached_property
    def bare(self) -> Worker:
        """The bare forward."""
        return self._others.enter_context(self.another_bare())

    def another_bare(self, *flags: str) -> Worker:
        """The same with more flags, for the caller to end."""
        return Worker("benchmarks.suite.bare", *self._flags, *flags)

    @cached_property
    def peer(self) -> Worker:
        """sentence-transformers."""
        folder = str(self.folder)
        return self._others.enter_context(Worker("benchmarks.suite.sentence", folder, self.device))

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the bare forward says of the model; it loads as the server does."""
        about: dict[str, Any] = self.bare.ask("about")
        return about

    @cached_property
    def products(self) -> dict[str, float]:
        """Operations a second of the product of square matrices, by their side.

        In the dtype that the model computes in; the measure of what the device can do.
        """
        found: dict[str, float] = self.bare.ask("product", sides=self.sizes.sides)
        return found

    def restart(self, *flags: str) -> float:
        """End the server if there is one, start one; seconds until it is ready."""
        self.end_server()
        began = time.perf_counter()
        program = ["qwire_server", *self._flags, *flags]
        server = self._serving.enter_context(ServerProcess(program, _START_SECONDS))
        self._target = server.target()
        return time.perf_counter() - began

    def recover(self) -> None:
        """After a failure: whatever has ended, or may not be as it was, starts anew."""
        self.end_server()
        for name in ("bare", "peer"):
            if name in vars(self) and not vars(self)[name].is_alive:
                del vars(self)[name]

    def end_server(self) -> None:
        """What is measured next finds one with the usual flags."""
        self._serving.close()
        self._target = ""

    def fitted(self, workload: Workload) -> Workload:
        """The workload in this model's tokens, none of them cut.

        Raises:
            Unfit: the model takes no such texts.
        """
        about = self.about
        prompt = about["prompt_tokens"] if workload.queries else 0
        room = about["max_tokens"] - prompt
        if workload.queries and not prompt:
            raise Unfit("the model has no prompt for queries")
        if workload.tokens > room:
            raise Unfit(f"the model takes {about['max_tokens']} tokens")
        most = min(workload.most, room)
        return replace(workload, most=most, around=about["tokens_around"], prompt=prompt)

    def offer(self, kind: str, generators: int = 1, **arguments: Any) -> list[dict[str, Any]]:
        """Have load generators offer something at the same time; their results."""
        asked = json.dumps({"kind": kind, "target": self.target, **arguments})
        with ExitStack() as stack:
            workers = [
                stack.enter_context(Worker("benchmarks.suite.offer")) for _ in range(generators)
            ]
            for worker in workers:
                worker.send(asked)
            for worker in workers:
                worker.receive()  # ready
            for worker in workers:
                worker.send("go")
            return [json.loads(worker.receive()) for worker in workers]

    def await_no_questions(self) -> None:
        """Return when the server has forgotten that questions came, so that batches are full."""
        time.sleep(max(0.0, self.asked + _QUESTIONS_EXPECTED_SECONDS - time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._others.close()
        self.end_server()
