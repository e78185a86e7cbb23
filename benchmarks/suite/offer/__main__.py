"""`python -m benchmarks.suite.offer`: reads what to offer, says `ready`, waits for a line, offers.

A line of JSON each: in, the kind and its arguments; out, the result.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from benchmarks.suite.offer import beside, calls, streams, turns
from benchmarks.suite.workloads import Workload

KINDS = {
    "streams": streams.Streams,
    "calls": calls.Calls,
    "beside": beside.Beside,
    "turns": turns.Turns,
}


async def main() -> None:
    """Offer what one line asks for."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    if "workload" in asked:
        asked["workload"] = Workload(**asked["workload"])
    offer = KINDS[asked.pop("kind")](**asked)
    await offer.prepare()
    print("ready", flush=True)
    sys.stdin.readline()
    used, began = time.process_time(), time.perf_counter()
    result = await offer.run()
    share = (time.process_time() - used) / (time.perf_counter() - began)
    print(json.dumps({**result, "generator_cores": round(share, 2)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
