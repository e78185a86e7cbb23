"""A server that loads for ever, with keys: `python -m support.keyed_server FILE`.

Prints its ports, gRPC's first; ends with its input. A process of its own, so that its memory is its
own, and without a model, so that it is there at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Any

from qwire_server.serve import Server
from qwire_server.settings import Settings


def load(_: Settings) -> Any:
    threading.Event().wait()


async def main() -> None:
    settings = Settings(model="demo", grpc_port=0, http_port=0, api_keys_file=sys.argv[1])
    server = Server(settings, load=load)
    starting = asyncio.ensure_future(server.start())
    while not server.http_port:
        assert not starting.done(), starting.exception()
        await asyncio.sleep(0.01)
    sys.stdout.write(f"{server.port} {server.http_port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
