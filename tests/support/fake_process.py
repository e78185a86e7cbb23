"""A server in a process of its own, to be killed; by default the fake one, `_serve` over there.

Run as `python fake_process.py PORT FINGERPRINT [HOST]`; it says `ready PORT` and then serves. Words
in a text make it misbehave: see `_serve`. SIGTERM drains: NOT_SERVING to who watches its health,
DRAINING on every stream, then the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

from support.machine_speed import hang_limit

SECONDS_PER_CHUNK = 0.002  # so that a stream is still under way when it is met


class Process:
    """A server on a port that stays the same, however often it is started. Use in `with`.

    Args:
        program: starts another server than the fake one, with `{port}` in place of the port; it
            says "ready" when it serves, on either output, and little else.
        fingerprint: of the fake one.
    """

    def __init__(self, *program: str, fingerprint: str = "fake-1") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.fingerprint = fingerprint
        self._program = program or (__file__, "{port}", "{fingerprint}")
        self._stderr = subprocess.STDOUT if program else None
        self.starts = 0
        self.statuses: list[int] = []  # of those that died by themselves
        self.lines: list[str] = []  # that all of them wrote
        self.serves = False  # whether the one that runs has said so
        self._process: subprocess.Popen | None = None
        self._reader: threading.Thread | None = None
        self._keeper: threading.Thread | None = None
        self._closed = False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self._closed = True
        self.kill()
        while self._keeper is not None and self._keeper.is_alive():
            self._process.kill()  # the keeper may have been about to start it
            self._keeper.join(0.1)
        self.kill()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it serves."""
        self.starts += 1
        paths = os.pathsep.join(path for path in sys.path if path)
        named = {"port": self.port, "fingerprint": self.fingerprint}
        process = subprocess.Popen(
            [sys.executable, *(part.format(**named) for part in self._program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self._process = process
        told: queue.SimpleQueue[bool] = queue.SimpleQueue()
        reader = threading.Thread(target=self._read, args=(process, told))
        reader.start()
        self._reader = reader
        assert told.get() or self._closed, f"it ended before it served: {self.lines[-5:]}"

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()
        self._read_to_the_end()

    def wait(self, seconds: float = 30) -> int:
        """Return the exit status of a process that ends by itself, and is not kept alive."""
        status = self._process.wait(seconds)
        self._read_to_the_end()
        return status

    def tell(self, line: str) -> None:
        """Write a line to its input; one that has just died does not hear it."""
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def asked(self, word: str, seconds: float = 20) -> dict:
        """Tell it a word, and read the line that begins with the same word: JSON."""
        seen = sum(line.startswith(f"{word} ") for line in self.lines)
        self.tell(word)
        ends = time.monotonic() + hang_limit(seconds)
        while time.monotonic() < ends:
            told = [line for line in self.lines if line.startswith(f"{word} ")]
            if len(told) > seen:
                return json.loads(told[-1].removeprefix(word))
            time.sleep(0.01)
        raise AssertionError(f"no {word} after {seconds} s: {self.lines[-5:]}")

    def crash(self) -> None:
        """SIGKILL, for who keeps it alive; returns at once."""
        self._process.kill()

    def kill_and_start(self) -> None:
        self.kill()
        self.start()

    def drain(self) -> None:
        """SIGTERM; returns at once."""
        self._process.send_signal(signal.SIGTERM)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def thaw_after(self, seconds: float) -> threading.Timer:
        """Thaw it later; join what comes back."""
        timer = threading.Timer(seconds, self.thaw)
        timer.start()
        return timer

    def keep_alive(self) -> None:
        """From now on, start it again whenever it dies by itself."""
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()

    def _keep(self) -> None:
        while True:
            status = self._process.wait()
            if self._closed:
                return
            self.statuses.append(status)
            self._read_to_the_end()
            with contextlib.suppress(AssertionError):  # killed while it started: once more
                self.start()

    def _read(self, process, told) -> None:
        """All its lines, so that the pipe never fills; tells once whether it serves."""
        with process.stdout:
            for line in iter(process.stdout.readline, b""):
                self.lines.append(line.decode())
                if line.startswith(b"ready ") or b" ready: " in line:
                    self.serves = True
                    told.put(True)
        self.serves = False
        told.put(False)
        with contextlib.suppress(OSError):
            process.stdin.close()

    def _read_to_the_end(self) -> None:
        """Of a process that has ended."""
        if self._reader is not None:
            self._reader.join()


async def _serve(port: int, fingerprint: str, host: str = "127.0.0.1") -> None:
    import grpc.aio  # noqa: PLC0415  not needed by who starts it

    from qwire.v1 import embedding_pb2 as pb  # noqa: PLC0415
    from qwire.v1 import embedding_pb2_grpc  # noqa: PLC0415
    from support.fake_server import FakeServer  # noqa: PLC0415

    draining = asyncio.Event()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    fake = FakeServer()
    fake.fingerprint = fingerprint

    async def stream(requests, context):
        options, told = None, False
        async for chunk in requests:
            options = chunk.options if chunk.HasField("options") else options
            if any("poison" in text for text in chunk.texts):
                os.kill(os.getpid(), signal.SIGKILL)
            if any("leave" in text for text in chunk.texts) and len(chunk.texts) > 1:
                return  # OK, with all of them unanswered
            await asyncio.sleep(SECONDS_PER_CHUNK)
            reply = fake.answer(chunk.ids, chunk.texts, options)
            if draining.is_set() and not told:
                reply.notice, told = pb.NOTICE_DRAINING, True
            yield reply

    async def embed(request, context):
        await asyncio.sleep(SECONDS_PER_CHUNK)  # so that some are under way when it dies
        return await FakeServer.Embed(fake, request, context)

    def drain():
        fake.leaving = True
        draining.set()

    fake.stream, fake.Embed = stream, embed
    embedding_pb2_grpc.add_EmbeddingServicer_to_server(fake, server)
    server.add_generic_rpc_handlers((fake.health(),))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, drain)
    server.add_insecure_port(f"{host}:{port}")
    await server.start()
    print("ready", port, flush=True)  # noqa: T201
    await draining.wait()
    await server.stop(5)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), *sys.argv[2:]))
