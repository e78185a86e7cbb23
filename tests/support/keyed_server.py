"""A server with a fake model and keys: `python -m support.keyed_server FILE`, until its input ends.

Prints its ports, gRPC's first. A process of its own, so that its memory is its own.
"""

from __future__ import annotations

import asyncio
import sys

from support.serving import fake_serving


async def main() -> None:
    async with fake_serving({"http_port": 0, "api_keys_file": sys.argv[1]}) as running:
        print(running.server.port, running.server.http_port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
