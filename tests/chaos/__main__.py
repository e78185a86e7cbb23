"""`python -m chaos`: faults under load for minutes; `python -m chaos soak`: very many requests.

Prints a table. The exit status is 1 if a text was lost, duplicated or wrong, or if the server holds
more afterwards than before.
"""

from __future__ import annotations

import argparse
import sys
import time

from chaos import run, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description="Faults under load.")
    parser.add_argument("what", nargs="?", choices=["chaos", "soak"], default="chaos")
    parser.add_argument("--minutes", type=float, default=3, help="of faults (default: 3)")
    parser.add_argument("--processes", type=int, default=3, help="of clients (default: 3)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the faults")
    parser.add_argument("--requests", type=int, default=200_000, help="of a soak")
    options = parser.parse_args()
    if options.what == "soak":
        soaked = soak.soak(options.requests)
        say(soak.table(soaked))
        return 1 if soaked.grown or soaked.counts["wrong"] or soaked.after["open"] else 0
    say(f"{options.minutes:g} minutes of faults, seed {options.seed}")
    result = run.chaos(options.minutes * 60, options.processes, options.seed)
    say(run.table(result))
    return 1 if any(result.zeros.values()) else 0


def say(text: str) -> None:
    """To whoever waits for minutes."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
